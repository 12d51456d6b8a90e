//! Holds the shape of the project (ARCHITECTURE.md): who imports whom, where `unsafe`, `fuser`, `rustix` and
//! `libc` may stand, how long files and functions may be, and that every source file has a `//!` header.
//!
//! Works on the syntax tree. Paths inside macros and attributes are found by their tokens.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::fmt;
use std::fs;
use std::path::Path;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Which modules of ours a module may import, besides itself. A module that is not here must be added.
const IMPORTS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("format", &[]),
    ("oci", &[]),
    ("marks", &["sys", "format"]),
    ("overlay", &["sys", "format", "marks"]),
    // sys: attaching a session to the kernel is system calls (ARCHITECTURE.md).
    ("fuse", &["overlay", "sys"]),
    ("mount", &["fuse", "overlay", "sys"]),
    ("layer", &["sys", "format", "marks", "oci"]),
    ("store", &["sys", "oci"]),
    ("image", &["store", "layer", "oci"]),
    ("run", &["mount", "image", "store", "oci", "sys"]),
    ("commands", &["cli", "overlay", "mount", "layer", "oci", "store", "image", "run"]),
    ("cli", &[]),
    ("main", &["cli", "commands", "mount"]),
    ("lib", &[]),
    ("mount-helper", &["mount"]),
];

/// Crates that only one module may use.
const CRATES: &[(&str, &str)] = &[("fuser", "fuse"), ("rustix", "sys"), ("libc", "sys")];

/// The only module with unsafe code.
const UNSAFE_MODULE: &str = "sys";

/// The only crates that `cli` may use: it holds what was typed and nothing else.
const CLI_CRATES: &[&str] = &["clap", "clap_complete"];

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 60;

/// One breach of the rules.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: usize,
    why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.why)
    }
}

#[test]
fn the_shape_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dependencies = dependencies(&fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml"));
    let mut violations = Vec::new();
    for file in rust_files(root, &["src", "mount-helper/src"]) {
        violations.extend(check_source(&file, &read(root, &file), &dependencies));
    }
    for file in rust_files(root, &["tests", "benches"]) {
        violations.extend(check_length(&file, &read(root, &file)));
    }
    let report: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(report.is_empty(), "\n{} breaches of the architecture:\n{}\n", report.len(), report.join("\n"));
}

/// The text of a file of the project.
fn read(root: &Path, file: &str) -> String {
    fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// All Rust files below the given directories, as paths from the root, sorted.
fn rust_files(root: &Path, dirs: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    let mut pending: Vec<_> = dirs.iter().map(|dir| root.join(dir)).filter(|dir| dir.exists()).collect();
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a directory").map(|e| e.expect("an entry").path()) {
            if entry.is_dir() {
                pending.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                files.push(entry.strip_prefix(root).expect("below the root").display().to_string());
            }
        }
    }
    files.sort();
    files
}

/// The crates that a Cargo.toml's `[dependencies]` names, as they are written in code.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.lines().skip_while(|l| l.trim() != "[dependencies]").skip(1);
    let names = section.take_while(|l| !l.starts_with('[')).filter_map(|l| l.split_once('='));
    names.map(|(name, _)| name.trim().replace('-', "_")).collect()
}

/// Every breach in one source file.
fn check_source(file: &str, source: &str, dependencies: &[String]) -> Vec<Violation> {
    let mut checker = Checker::new(file, dependencies);
    checker.violations.extend(check_length(file, source));
    match syn::parse_file(source) {
        Err(e) => checker.report(e.span(), format!("does not parse: {e}")),
        Ok(tree) => {
            let header =
                |a: &syn::Attribute| matches!(a.style, syn::AttrStyle::Inner(_)) && a.path().is_ident("doc");
            if !tree.attrs.iter().any(header) {
                checker.report_line(1, "has no `//!` header".to_owned());
            }
            checker.check_unsafe(source.parse().expect("it parsed before"));
            checker.visit_file(&tree);
        }
    }
    checker.violations.sort();
    checker.violations.dedup();
    checker.violations
}

/// Whether the file is too long.
fn check_length(file: &str, source: &str) -> Option<Violation> {
    let lines = source.lines().count();
    let why = format!("has {lines} lines; {MAX_FILE_LINES} are allowed");
    (lines > MAX_FILE_LINES).then(|| Violation { file: file.to_owned(), line: lines, why })
}

/// The walk over one file.
struct Checker<'a> {
    file: &'a str,
    dependencies: &'a [String],
    /// The top-level module the file belongs to.
    owner: String,
    /// The path of the module being walked, from the crate's root.
    module: Vec<String>,
    /// How many of the surrounding items are tests.
    tests: usize,
    violations: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn new(file: &'a str, dependencies: &'a [String]) -> Checker<'a> {
        let (owner, module) = place(file);
        Checker { file, dependencies, owner, module, tests: 0, violations: Vec::new() }
    }

    fn report(&mut self, span: Span, why: String) {
        self.report_line(span.start().line, why);
    }

    fn report_line(&mut self, line: usize, why: String) {
        self.violations.push(Violation { file: self.file.to_owned(), line, why });
    }

    /// Reports the word `unsafe` wherever it stands, macros included.
    fn check_unsafe(&mut self, tokens: TokenStream) {
        if self.owner == UNSAFE_MODULE {
            return;
        }
        for token in flatten(tokens) {
            if let TokenTree::Ident(ident) = token
                && ident == "unsafe"
            {
                self.report(ident.span(), format!("unsafe outside src/{UNSAFE_MODULE}"));
            }
        }
    }

    /// Judges a path that the code names.
    fn check_path(&mut self, segments: &[String], span: Span) {
        let Some(head) = segments.first() else { return };
        if let Some((name, module)) = CRATES.iter().find(|(name, _)| name == head)
            && self.owner != *module
        {
            self.report(span, format!("{name} outside src/{module}"));
        }
        if self.owner == "cli" && self.dependencies.contains(head) && !CLI_CRATES.contains(&head.as_str()) {
            self.report(span, format!("cli uses {head}; it may use clap only"));
        }
        if let Some(target) = self.resolve(segments) {
            self.check_target(&target, span);
        }
    }

    /// The path from the crate's root, if the path names something of ours.
    fn resolve(&self, segments: &[String]) -> Option<Vec<String>> {
        let supers = segments.iter().take_while(|s| *s == "super").count();
        match segments.first()?.as_str() {
            "plyfs" => Some(segments[1..].to_vec()),
            "crate" if self.owner == "mount-helper" => None,
            "crate" => Some(segments[1..].to_vec()),
            "super" => {
                let kept = self.module.len().saturating_sub(supers);
                Some(self.module[..kept].iter().chain(&segments[supers..]).cloned().collect())
            }
            _ => None,
        }
    }

    /// Judges a path from the crate's root.
    fn check_target(&mut self, target: &[String], span: Span) {
        let Some(top) = target.first().filter(|top| *top != "*") else {
            if !matches!(self.owner.as_str(), "main" | "lib" | "mount-helper") {
                self.report(span, "takes in the crate's root; name the module".to_owned());
            }
            return;
        };
        let owner = self.owner.clone();
        match IMPORTS.iter().find(|(module, _)| *module == owner) {
            _ if *top == owner => {}
            Some((_, allowed)) if allowed.contains(&top.as_str()) => {}
            Some((_, allowed)) => {
                self.report(span, format!("{owner} imports {top}; it may import {allowed:?} only"));
            }
            None => self.report(span, format!("module {owner} is not in the table of imports")),
        }
    }

    /// Judges the paths inside a macro call or an attribute.
    fn check_tokens(&mut self, tokens: TokenStream) {
        let tokens = flatten(tokens);
        let mut at = 0;
        while at < tokens.len() {
            let segments = path_at(&tokens[at..]);
            if segments.len() > 1 {
                self.check_path(&segments, tokens[at].span());
            }
            at += (3 * segments.len()).saturating_sub(2).max(1);
        }
    }

    /// Judges a function's length, from the line of `fn` to that of its closing brace.
    fn check_function(&mut self, signature: &syn::Signature, block: &syn::Block, attrs: &[syn::Attribute]) {
        let first = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line - first + 1;
        if lines > MAX_FUNCTION_LINES && self.tests == 0 && !is_test(attrs) {
            let name = &signature.ident;
            self.report_line(first, format!("fn {name} has {lines} lines; {MAX_FUNCTION_LINES} are allowed"));
        }
    }

    /// Judges every path of a `use` tree.
    fn check_use(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.check_use(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.check_use(item, prefix)),
            syn::UseTree::Name(name) => self.check_leaf(prefix, &name.ident.to_string(), name.span()),
            syn::UseTree::Rename(rename) => self.check_leaf(prefix, &rename.ident.to_string(), rename.span()),
            syn::UseTree::Glob(glob) => self.check_leaf(prefix, "*", glob.span()),
        }
    }

    /// Judges one path of a `use` tree.
    fn check_leaf(&mut self, prefix: &[String], leaf: &str, span: Span) {
        let mut segments = prefix.to_vec();
        if leaf != "self" {
            segments.push(leaf.to_owned());
        }
        self.check_path(&segments, span);
    }
}

impl<'ast> Visit<'ast> for Checker<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.check_use(&item.tree, &mut Vec::new());
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.check_path(&[item.ident.to_string()], item.span());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if segments.len() > 1 {
            self.check_path(&segments, path.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.check_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.check_tokens(list.tokens.clone());
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let tests = usize::from(is_test(&item.attrs));
        self.tests += tests;
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
        self.tests -= tests;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check_function(&item.sig, &item.block, &item.attrs);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check_function(&item.sig, &item.block, &item.attrs);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.check_function(&item.sig, block, &item.attrs);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// The top-level module a file belongs to, and its own module path from the crate's root.
fn place(file: &str) -> (String, Vec<String>) {
    if file.starts_with("mount-helper/") {
        return ("mount-helper".to_owned(), Vec::new());
    }
    let path = file.strip_prefix("src/").unwrap_or(file).trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    let owner = module[0].clone();
    if module.last().is_some_and(|last| last == "mod") || owner == "main" || owner == "lib" {
        module.pop();
    }
    (owner, module)
}

/// Whether an item is only there for tests.
fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let cfg_test = || attr.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test");
        attr.path().is_ident("test") || attr.path().is_ident("cfg") && cfg_test()
    })
}

/// The tokens in order, groups opened.
fn flatten(tokens: TokenStream) -> Vec<TokenTree> {
    let mut flat = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                // The delimiter keeps paths on its two sides apart.
                flat.push(TokenTree::Group(proc_macro2::Group::new(group.delimiter(), TokenStream::new())));
                flat.extend(flatten(group.stream()));
            }
            other => flat.push(other),
        }
    }
    flat
}

/// The segments of the path that begins with the first token; empty where none does.
fn path_at(tokens: &[TokenTree]) -> Vec<String> {
    let mut segments = Vec::new();
    let mut rest = tokens;
    while let [TokenTree::Ident(ident), tail @ ..] = rest {
        segments.push(ident.to_string());
        match tail {
            [TokenTree::Punct(a), TokenTree::Punct(b), more @ ..]
                if a.as_char() == ':' && b.as_char() == ':' =>
            {
                rest = more;
            }
            _ => break,
        }
    }
    segments
}

/// Small sources that must be caught, or must not.
mod checker {
    use super::{check_length, check_source, dependencies, place};

    /// What is wrong with the source, without the header's absence.
    fn wrong(file: &str, source: &str) -> Vec<String> {
        let crates = ["anyhow", "clap", "clap_complete", "rustix"].map(str::to_owned);
        let source = format!("//! Header.\n{source}");
        check_source(file, &source, &crates).iter().map(|v| v.to_string()).collect()
    }

    #[track_caller]
    fn assert_wrong(file: &str, source: &str, expected: &str) {
        let found = wrong(file, source);
        assert!(found.len() == 1 && found[0].contains(expected), "{file}: {source}\nfound {found:?}");
    }

    #[track_caller]
    fn assert_right(file: &str, source: &str) {
        let found = wrong(file, source);
        assert!(found.is_empty(), "{file}: {source}\nfound {found:?}");
    }

    #[test]
    fn forbidden_imports_are_caught_in_every_spelling() {
        let why = "overlay imports layer";
        for source in [
            "use crate::layer::walk;",
            "use crate::layer;",
            "use crate::layer as l;",
            "use crate::{sys::fs, layer::walk::Walk};",
            "pub use crate::layer::walk::*;",
            "use super::super::layer::walk;",
            "use super::super::{format, layer::walk};",
            "fn f() { crate::layer::walk(); }",
            "fn f(x: &crate::layer::Walk) {}",
            "fn f() { assert!(crate::layer::walk()); }",
            "#[serde(with = crate::layer::walk)] struct S;",
            "#[derive(Debug)] struct S(Vec<crate::layer::Walk>);",
            "use plyfs::layer::walk;",
            "#[cfg(test)] mod tests { use super::super::super::layer::walk; }",
        ] {
            assert_wrong("src/overlay/lookup.rs", source, why);
        }
    }

    #[test]
    fn a_breach_names_its_file_and_line() {
        let found = wrong("src/sys/fs.rs", "\nuse std::fs;\nuse crate::format::names;");
        assert_eq!(found, ["src/sys/fs.rs:4: sys imports format; it may import [] only"]);
    }

    #[test]
    fn every_module_keeps_to_its_row() {
        assert_wrong("src/format/acl.rs", "use crate::sys::Errno;", "format imports sys");
        assert_wrong("src/oci/digest.rs", "use crate::format::names;", "oci imports format");
        assert_wrong("src/fuse/mod.rs", "use crate::format::names;", "fuse imports format");
        assert_wrong("src/mount/mod.rs", "use crate::format::idmap::IdMap;", "mount imports format");
        assert_wrong("src/image/mod.rs", "use crate::overlay::Config;", "image imports overlay");
        assert_wrong("src/store/mod.rs", "use crate::layer::diff;", "store imports layer");
        assert_wrong("src/commands/diff.rs", "use crate::sys::fs;", "commands imports sys");
        assert_wrong("src/cli.rs", "use crate::layer::diff::Change;", "cli imports layer");
        assert_wrong("src/cli/diff.rs", "use crate::mount::Options;", "cli imports mount");
        assert_wrong("src/main.rs", "use plyfs::overlay::Config;", "main imports overlay");
        assert_wrong(
            "mount-helper/src/main.rs",
            "use plyfs::overlay::Config;",
            "mount-helper imports overlay",
        );
        assert_wrong("src/novel/mod.rs", "use crate::sys::fs;", "module novel is not in the table");
        assert_wrong("src/overlay/mod.rs", "use crate::Thing;", "overlay imports Thing");
    }

    #[test]
    fn allowed_imports_pass() {
        assert_right(
            "src/overlay/mod.rs",
            "pub mod a; use crate::sys::fs; use crate::format::{names, whiteout};",
        );
        assert_right(
            "src/overlay/a.rs",
            "use super::b::C; use crate::overlay::d; use self::e::F; use std::io;",
        );
        assert_right("src/overlay/a.rs", "pub(crate) fn f() {} #[cfg(test)] mod tests { use super::*; }");
        assert_right("src/commands/diff.rs", "use crate::{cli, layer::diff}; use anyhow::Result;");
        assert_right("src/main.rs", "use plyfs::{cli, commands}; mod x { use super::*; }");
        assert_right("mount-helper/src/main.rs", "use plyfs::mount; mod x; use crate::x;");
        assert_right("src/cli.rs", "use clap::Parser; use clap_complete::Shell; use std::path::PathBuf;");
    }

    #[test]
    fn the_crates_root_is_not_to_be_taken_whole() {
        assert_wrong("src/overlay/a.rs", "use crate::*;", "crate's root");
        assert_wrong("src/overlay/a.rs", "use super::super::*;", "crate's root");
        assert_wrong("src/overlay/a.rs", "use crate as root;", "crate's root");
    }

    #[test]
    fn crates_stay_in_their_module() {
        assert_wrong("src/overlay/a.rs", "use fuser::Request;", "fuser outside src/fuse");
        assert_wrong("src/overlay/a.rs", "use rustix::fs::{openat, statat as s};", "rustix outside src/sys");
        assert_wrong("src/overlay/a.rs", "const E: i32 = libc::EIO;", "libc outside src/sys");
        assert_wrong("src/overlay/a.rs", "fn f() { matches!(x, libc::EIO); }", "libc outside src/sys");
        assert_wrong("src/overlay/a.rs", "extern crate libc;", "libc outside src/sys");
        assert_wrong("src/overlay/a.rs", "use ::libc::EIO;", "libc outside src/sys");
        assert_wrong("src/cli.rs", "use anyhow::Result;", "may use clap only");
        assert_right("src/fuse/a.rs", "use fuser::Request;");
        assert_right("src/sys/a.rs", "use rustix::fs::openat; const E: i32 = libc::EIO;");
    }

    #[test]
    fn unsafe_stays_in_sys() {
        for source in [
            "fn f() { unsafe { g() } }",
            "unsafe fn f() {}",
            "unsafe impl Send for S {}",
            "unsafe extern \"C\" { fn g(); }",
            "#[unsafe(no_mangle)] fn f() {}",
            "m!(unsafe { g() });",
            "macro_rules! m { () => { unsafe { g() } } }",
        ] {
            assert_wrong("src/mount/a.rs", source, "unsafe outside src/sys");
            assert_right("src/sys/a.rs", source);
        }
        assert_right("src/mount/a.rs", "// unsafe\nconst S: &str = \"unsafe\";");
    }

    #[test]
    fn long_functions_are_caught_unless_they_are_tests() {
        let body = |lines: usize| "    g();\n".repeat(lines);
        assert_right("src/mount/a.rs", &format!("fn f() {{\n{}}}\n", body(58)));
        let long = format!("fn f() {{\n{}}}\n", body(59));
        assert_wrong("src/mount/a.rs", &long, "fn f has 61 lines");
        assert_wrong("src/mount/a.rs", &format!("impl S {{ {long} }}"), "fn f has 61 lines");
        assert_wrong("src/mount/a.rs", &format!("trait T {{ {long} }}"), "fn f has 61 lines");
        assert_wrong("src/mount/a.rs", &format!("mod m {{ {long} }}"), "fn f has 61 lines");
        assert_wrong("src/mount/a.rs", &format!("#[cfg(not(test))] mod m {{ {long} }}"), "fn f has 61 lines");
        assert_right("src/mount/a.rs", &format!("#[cfg(test)] mod tests {{ {long} }}"));
        assert_right("src/mount/a.rs", &format!("#[test] {long}"));
    }

    #[test]
    fn long_files_and_missing_headers_are_caught() {
        assert_eq!(check_length("a.rs", &"\n".repeat(600)), None);
        assert!(check_length("a.rs", &"\n".repeat(601)).is_some_and(|v| v.to_string().contains("601 lines")));
        let found = check_source("src/sys/a.rs", "// Not a header.\n/// Nor this.\nfn f() {}", &[]);
        assert!(found.len() == 1 && found[0].why.contains("header"));
        assert_eq!(check_source("src/sys/a.rs", "fn f( {", &[]).len(), 1);
    }

    #[test]
    fn files_and_manifests() {
        assert_eq!(place("src/overlay/mod.rs"), ("overlay".into(), vec!["overlay".into()]));
        assert_eq!(place("src/cli.rs"), ("cli".into(), vec!["cli".into()]));
        assert_eq!(place("src/main.rs"), ("main".into(), vec![]));
        let manifest =
            "[package]\nname = \"x\"\n[dependencies]\nclap-x = \"4\"\nlog = { version = \"1\" }\n[x]\ny = 1";
        assert_eq!(dependencies(manifest), ["clap_x", "log"]);
    }
}
