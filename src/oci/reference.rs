//! Names of images: registry, path, tag and digest (distribution specification, as docker reads it).

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;

/// The registry that is meant where none is named.
const DEFAULT_REGISTRY: &str = "docker.io";
/// What docker's older clients called [`DEFAULT_REGISTRY`].
const LEGACY_REGISTRY: &str = "index.docker.io";
/// Where the default registry keeps repositories with a name of one part.
const OFFICIAL: &str = "library/";
/// The tag that is meant where neither tag nor digest is given.
const DEFAULT_TAG: &str = "latest";

const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// The name of an image. Made by parsing only, so that every one is valid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is nothing.
    #[error("an image's name must not be empty")]
    Empty,
    /// It is an image's ID.
    #[error("{0:?} is an image's ID, not a name")]
    Id(String),
    /// There is a tag or a digest and nothing before it.
    #[error("{0:?} names no repository")]
    NoRepository(String),
    /// Registries fold case and repositories do not.
    #[error("the repository {repository:?} has upper-case letters; did you mean {suggestion:?}?")]
    UpperCase {
        /// As given.
        repository: String,
        /// In lower case.
        suggestion: String,
    },
    /// A part between slashes is not made as it must be.
    #[error(
        "the part {component:?} of the repository {repository:?} is not lower-case letters and digits, joined by \
         '.', '_', '__' or dashes"
    )]
    Component {
        /// The part.
        component: String,
        /// The whole path.
        repository: String,
    },
    /// The repository's name is too long.
    #[error("a repository's name has at most {MAX_REPOSITORY} characters; this one has {0}")]
    TooLong(usize),
    /// The part before the first slash is no host name.
    #[error("the registry {0:?} is no host name, with or without a port")]
    Registry(String),
    /// A tag has a character that none may have.
    #[error("the tag {tag:?} has the character {character:?}; letters, digits, '_', '.' and '-' are allowed")]
    TagCharacter {
        /// The tag.
        tag: String,
        /// The first that is wrong.
        character: char,
    },
    /// A tag begins with a character that it may have later on only.
    #[error("the tag {tag:?} begins with {character:?}; a tag begins with a letter, a digit or '_'")]
    TagStart {
        /// The tag.
        tag: String,
        /// Its first character.
        character: char,
    },
    /// There is a colon and no tag behind it.
    #[error("the tag of {0:?} is empty")]
    EmptyTag(String),
    /// A tag is too long.
    #[error("a tag has at most {MAX_TAG} characters; this one has {0}")]
    TagTooLong(usize),
    /// What follows the at sign is no digest.
    #[error("{digest:?} of {reference:?} is no digest: 'sha256:' and 64 lower-case hexadecimal digits")]
    Digest {
        /// What should be a digest.
        digest: String,
        /// The whole text.
        reference: String,
    },
}

impl Reference {
    /// The registry's host name, with its port where one is given: `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's path on the registry: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest. Where there is a tag, too, the digest decides.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and path: `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// Registry and path as docker shows them: `debian`.
    pub fn familiar_repository(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            // Its first part would be taken for the registry.
            _ if self.path.split('/').next().is_some_and(is_registry) => self.repository(),
            _ => self.path.clone(),
        }
    }

    /// As docker shows it: `debian:latest`.
    pub fn familiar(&self) -> String {
        let short = self.with_suffixes(self.familiar_repository());
        if is_id(&short) { self.to_string() } else { short }
    }

    /// The same with the tag `latest`, if neither a tag nor a digest is given.
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with this tag and no digest.
    ///
    /// # Errors
    /// The text is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        check_tag(tag, tag)?;
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with this digest and no tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// `name` with tag and digest.
    fn with_suffixes(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffixes(self.repository()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if is_id(text) {
            return Err(ReferenceError::Id(text.to_owned()));
        }
        let (rest, digest) = split_digest(text)?;
        let (name, tag) = split_tag(rest);
        if let Some(tag) = tag {
            check_tag(tag, text)?;
        }
        if name.is_empty() {
            return Err(ReferenceError::NoRepository(text.to_owned()));
        }
        let (registry, path) = split_registry(name)?;
        check_path(&path, name, text)?;
        Ok(Reference { registry, path, tag: tag.map(str::to_owned), digest })
    }
}

/// Whether the text is an image's ID, written in full, with or without the algorithm.
fn is_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What stands before the at sign, and the digest behind it.
fn split_digest(text: &str) -> Result<(&str, Option<Digest>), ReferenceError> {
    let Some((name, digest)) = text.split_once('@') else { return Ok((text, None)) };
    let parsed = digest.parse();
    let error = |_| ReferenceError::Digest { digest: digest.to_owned(), reference: text.to_owned() };
    Ok((name, Some(parsed.map_err(error)?)))
}

/// What stands before the tag's colon, and the tag. A colon before a slash belongs to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// The registry and the repository's path, with what docker adds to short names.
fn split_registry(name: &str) -> Result<(String, String), ReferenceError> {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    if !is_host(registry) {
        return Err(ReferenceError::Registry(registry.to_owned()));
    }
    if registry != DEFAULT_REGISTRY && registry != LEGACY_REGISTRY {
        return Ok((registry.to_owned(), path.to_owned()));
    }
    let official = if path.contains('/') { "" } else { OFFICIAL };
    Ok((DEFAULT_REGISTRY.to_owned(), format!("{official}{path}")))
}

/// Whether the first part of a name is a registry and not a part of the repository's path.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.contains(|c: char| c.is_ascii_uppercase())
}

/// A host name or address, with or without a port.
fn is_host(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (Host::Address(address), port),
        None => match registry.split_once(':') {
            Some((name, _)) => (Host::Name(name), &registry[name.len()..]),
            None => (Host::Name(registry), ""),
        },
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host.is_valid() && (port.is_empty() || port.strip_prefix(':').is_some_and(digits))
}

/// A host as it is written.
enum Host<'a> {
    /// An IPv6 address, without its brackets.
    Address(&'a str),
    /// A name or an IPv4 address.
    Name(&'a str),
}

impl Host<'_> {
    /// Whether each part of a name is letters and digits with dashes between them, or the address is one.
    fn is_valid(&self) -> bool {
        match self {
            Host::Address(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            Host::Name(name) => name.split('.').all(|label| {
                let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(inner)
            }),
        }
    }
}

/// Whether the repository's path is one. What is said about it is said of `name`, with which `text` begins.
fn check_path(path: &str, name: &str, text: &str) -> Result<(), ReferenceError> {
    // Before the parts are judged: what is said about a long text should not be the text.
    let length = path.chars().count();
    if length > MAX_REPOSITORY {
        return Err(ReferenceError::TooLong(length));
    }
    if path.contains(|c: char| c.is_ascii_uppercase()) {
        let (registry, own) = name.split_at(name.strip_suffix(path).map_or(0, str::len));
        let suffixes = text.get(name.len()..).unwrap_or_default();
        let suggestion = format!("{registry}{}{suffixes}", own.to_ascii_lowercase());
        return Err(ReferenceError::UpperCase { repository: name.to_owned(), suggestion });
    }
    match path.split('/').find(|component| !is_component(component)) {
        None => Ok(()),
        Some(component) => {
            let (component, repository) = (component.to_owned(), name.to_owned());
            Err(ReferenceError::Component { component, repository })
        }
    }
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of dashes.
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    alphanumeric(*first)
        && alphanumeric(*last)
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

/// Whether `tag`, which is part of `text`, is a tag.
fn check_tag(tag: &str, text: &str) -> Result<(), ReferenceError> {
    let length = tag.chars().count();
    if length > MAX_TAG {
        return Err(ReferenceError::TagTooLong(length));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if let Some(character) = tag.chars().find(|c| !allowed(*c)) {
        return Err(ReferenceError::TagCharacter { tag: tag.to_owned(), character });
    }
    match tag.chars().next() {
        None => Err(ReferenceError::EmptyTag(text.to_owned())),
        Some(character @ ('.' | '-')) => Err(ReferenceError::TagStart { tag: tag.to_owned(), character }),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[track_caller]
    fn says(text: &str, expected: &str) {
        let error = text.parse::<Reference>().expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn names_have_a_full_and_a_familiar_form() {
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian", "debian"),
            ("debian:13", "docker.io/library/debian:13", "debian:13"),
            ("docker.io/debian", "docker.io/library/debian", "debian"),
            ("index.docker.io/a/b", "docker.io/a/b", "a/b"),
            ("library/debian", "docker.io/library/debian", "debian"),
            ("library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("docker.io/library/localhost", "docker.io/library/localhost", "localhost"),
            ("docker.io/localhost/a", "docker.io/localhost/a", "docker.io/localhost/a"),
            ("a.b:V_1.0-x", "docker.io/library/a.b:V_1.0-x", "a.b:V_1.0-x"),
            ("localhost/a", "localhost/a", "localhost/a"),
            ("localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"),
            ("ghcr.io/a__b/c--d/e.f_g", "ghcr.io/a__b/c--d/e.f_g", "ghcr.io/a__b/c--d/e.f_g"),
            ("Host/a", "Host/a", "Host/a"),
            ("[::1]:80/a", "[::1]:80/a", "[::1]:80/a"),
            ("foo/localhost", "docker.io/foo/localhost", "foo/localhost"),
        ] {
            let reference = parse(text);
            assert_eq!(reference.to_string(), full, "{text}");
            // What is shown must name the same image again.
            assert_eq!(parse(&reference.familiar()), reference, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
        }
        let hex_name = parse(&format!("library/{}", &DIGEST[7..]));
        assert_eq!(parse(&hex_name.familiar()), hex_name);
    }

    #[test]
    fn latest_is_meant_where_nothing_is_given() {
        assert_eq!(parse("a").with_default_tag().familiar(), "a:latest");
        assert_eq!(parse("a:b").with_default_tag().familiar(), "a:b");
        let by_digest = format!("a@{DIGEST}");
        assert_eq!(parse(&by_digest).with_default_tag().familiar(), by_digest);
    }

    #[test]
    fn tags_and_digests_can_be_had_together_and_changed() {
        let both = parse(&format!("ghcr.io/a:1@{DIGEST}"));
        assert_eq!((both.tag(), both.digest()), (Some("1"), Some(Digest::of(b""))));
        assert_eq!((both.registry(), both.path()), ("ghcr.io", "a"));
        assert_eq!(both.repository(), "ghcr.io/a");
        assert_eq!(both.with_tag("2").expect("a tag").to_string(), "ghcr.io/a:2");
        assert_eq!(both.with_digest(Digest::of(b"")).to_string(), format!("ghcr.io/a@{DIGEST}"));
        assert!(both.with_tag("a/b").is_err());
    }

    #[test]
    fn errors_say_what_is_wrong() {
        says("", "empty");
        says(&DIGEST[7..], "ID");
        says(DIGEST, "ID");
        says(":tag", "no repository");
        says("Debian:13", "did you mean \"debian:13\"");
        says("ghcr.io/A/b", "did you mean \"ghcr.io/a/b\"");
        says("Ghcr.io/A:X", "did you mean \"Ghcr.io/a:X\"");
        says("docker.io/Debian", "did you mean \"docker.io/debian\"");
        says("a:b c", "tag \"b c\" has the character ' '");
        says("a:.b", "begins with '.'");
        says("a:", "tag of \"a:\" is empty");
        says(&format!("a:{}", "x".repeat(129)), "at most 128");
        says(&"a/".repeat(200), "at most 255");
        says("a@sha256:12", "no digest");
        says("a@", "no digest");
        says("a@b@c", "no digest");
        for bad in ["a//b", "/a", "a/", "a..b", "a___b", "-a", "a-", "a._b", "a b", "ä", "a\0b", "ghcr.io/"]
        {
            says(bad, "part");
        }
        for bad in ["a_b.c/d", "-a.b/c", "a.b:x/c", "a.b:/c", "[::1/c", "[x]:1/c", ".a/b"] {
            says(bad, "registry");
        }
    }

    #[test]
    fn lengths_are_allowed_to_the_last() {
        parse(&format!("x/{}", "a".repeat(253)));
        parse(&format!("a:{}", "x".repeat(128)));
        says(&format!("x/{}", "a".repeat(254)), "at most 255");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[a-zA-Z0-9.:/@_\\[\\]-]{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().expect("full"), &reference);
                prop_assert_eq!(&reference.familiar().parse::<Reference>().expect("familiar"), &reference);
            }
        }

        #[test]
        fn what_is_written_is_read_again(
            text in "((localhost|[a-z]{1,3}(\\.[a-z]{1,3}){1,2}|[A-Z]x)(:[0-9]{1,5})?/)?\
                     [a-z0-9]{1,4}((_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,4}(\\.[a-z0-9])?){0,2}\
                     (:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?"
        ) {
            let reference: Reference = text.parse().expect("valid");
            prop_assert_eq!(&reference.to_string().parse::<Reference>().expect("full"), &reference);
            prop_assert_eq!(&reference.familiar().parse::<Reference>().expect("familiar"), &reference);
        }
    }
}
