//! What images run on: this machine's platform, platforms in text, and the choice from a list of manifests.
//!
//! Architectures and systems are named as Go does (GOARCH, GOOS); other names of the common ones are understood.

use crate::oci::descriptor::{Descriptor, Platform};
use crate::oci::manifest::Index;

/// The systems that have images.
const SYSTEMS: &[&str] = &["linux", "windows", "darwin", "freebsd", "wasip1", "wasi"];

/// The architectures that have images.
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "wasm",
];

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// It is not made as a platform is.
    #[error("{0:?} is no platform; write os/architecture or os/architecture/variant, like linux/arm64")]
    Shape(String),
    /// It is one word, and neither a system nor an architecture.
    #[error("{0:?} is neither an operating system nor an architecture that is known; write os/architecture")]
    Unknown(String),
}

/// The platform of this machine. On 32-bit ARM, the variant is the one that the program was built for.
pub fn host() -> Platform {
    let (architecture, variant) = architecture(rust_architecture(), None);
    let variant = match architecture.as_str() {
        "arm" if cfg!(target_feature = "v7") => Some("v7".to_owned()),
        "arm" => Some("v6".to_owned()),
        _ => variant,
    };
    platform(std::env::consts::OS, architecture, variant)
}

/// The machine's architecture, with the order of its bytes where names differ by it.
fn rust_architecture() -> &'static str {
    let little = cfg!(target_endian = "little");
    match std::env::consts::ARCH {
        "powerpc64" if little => "ppc64le",
        "mips" if little => "mipsle",
        "mips64" if little => "mips64le",
        other => other,
    }
}

/// Reads `os/architecture/variant`. The variant may be left out, and of one word the rest is this machine's.
///
/// # Errors
/// The text is no platform.
pub fn parse(text: &str) -> Result<Platform, PlatformError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let parts: Vec<String> = text.split('/').map(str::to_ascii_lowercase).collect();
    if parts.iter().any(|part| part.is_empty() || !part.chars().all(allowed)) {
        return Err(PlatformError::Shape(text.to_owned()));
    }
    match parts.as_slice() {
        [word] => parse_word(word).ok_or_else(|| PlatformError::Unknown(text.to_owned())),
        [os, arch] => {
            let (arch, variant) = architecture(arch, None);
            Ok(platform(os, arch, variant))
        }
        [os, arch, variant] => {
            let (arch, variant) = architecture(arch, Some(variant));
            Ok(platform(os, arch, variant))
        }
        _ => Err(PlatformError::Shape(text.to_owned())),
    }
}

/// A system or an architecture alone.
fn parse_word(word: &str) -> Option<Platform> {
    let host = host();
    if SYSTEMS.contains(&word) || word == "macos" {
        return Some(platform(word, host.architecture, host.variant));
    }
    let (arch, variant) = architecture(word, None);
    ARCHITECTURES.contains(&arch.as_str()).then(|| platform(&host.os, arch, variant))
}

fn platform(os: &str, architecture: String, variant: Option<String>) -> Platform {
    let os = if os == "macos" { "darwin" } else { os };
    Platform { architecture, os: os.to_owned(), variant, os_version: None, os_features: Vec::new() }
}

/// Go's name of an architecture, and the variant that is given or lies in the name.
fn architecture(name: &str, variant: Option<&str>) -> (String, Option<String>) {
    let (name, implied) = match name {
        "x86_64" | "x86-64" => ("amd64", None),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", None),
        "aarch64" => ("arm64", None),
        "armhf" | "armv7l" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "powerpc64" => ("ppc64", None),
        "loongarch64" => ("loong64", None),
        "wasm32" => ("wasm", None),
        other => (other, None),
    };
    let variant = variant.or(implied).map(|variant| match (name, variant) {
        ("arm" | "arm64", digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => format!("v{digits}"),
        _ => variant.to_owned(),
    });
    (name.to_owned(), variant)
}

/// Writes `os/architecture/variant`; what is not known is left out.
pub fn format(platform: &Platform) -> String {
    let parts =
        [platform.os.as_str(), &platform.architecture, platform.variant.as_deref().unwrap_or_default()];
    let known: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    known.join("/")
}

/// The manifest that fits `wanted` best: the closest variant, and of several the first. Where none fits, the only member of
/// a list is chosen if it does not say what it runs on.
pub fn choose<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    let distance =
        |manifest: &&'a Descriptor| manifest.platform.as_ref().and_then(|offered| distance(offered, wanted));
    let fitting = index.manifests.iter().filter(|manifest| distance(manifest).is_some());
    fitting.min_by_key(distance).or(match index.manifests.as_slice() {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    })
}

/// Whether an image for `offered` runs on `wanted`.
pub fn fits(offered: &Platform, wanted: &Platform) -> bool {
    distance(offered, wanted).is_some()
}

/// How far an image's variant is below the wanted one; `None` where it does not run there.
fn distance(offered: &Platform, wanted: &Platform) -> Option<u32> {
    if !same_system(offered, wanted) || offered.architecture != wanted.architecture {
        return None;
    }
    match (level(offered), level(wanted)) {
        (Some(offered), Some(wanted)) => wanted.checked_sub(offered),
        _ => (offered.variant.as_deref().unwrap_or_default()
            == wanted.variant.as_deref().unwrap_or_default())
        .then_some(0),
    }
}

/// The system, and on Windows its build: containers need the host's.
fn same_system(offered: &Platform, wanted: &Platform) -> bool {
    let build = |version: &str| version.split('.').take(3).map(str::to_owned).collect::<Vec<_>>();
    let same_version = match (&offered.os_version, &wanted.os_version) {
        (Some(offered), Some(wanted)) => build(offered) == build(wanted),
        _ => true,
    };
    offered.os == wanted.os && same_version
}

/// The variant as a number, where a machine runs images of lower ones. What images without a variant are built for is the
/// convention of the registries.
fn level(platform: &Platform) -> Option<u32> {
    let default = match platform.architecture.as_str() {
        "arm" => "v7",
        "arm64" => "v8",
        "amd64" => "v1",
        _ => return None,
    };
    let variant = platform.variant.as_deref().filter(|v| !v.is_empty()).unwrap_or(default);
    let number = variant.strip_prefix('v')?;
    // ARM has minor versions: v8.1.
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    major.parse::<u32>().ok()?.checked_mul(100)?.checked_add(minor.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oci::digest::Digest;
    use crate::oci::media_type;

    fn p(text: &str) -> Platform {
        parse(text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn index(platforms: &[&str]) -> Index {
        let descriptor = |text: &&str| Descriptor {
            platform: (!text.is_empty()).then(|| p(text)),
            ..Descriptor::of(media_type::MANIFEST, text.as_bytes())
        };
        Index::new(platforms.iter().map(descriptor).collect())
    }

    #[track_caller]
    fn chosen(platforms: &[&str], wanted: &str, expected: Option<&str>) {
        let index = index(platforms);
        let found = choose(&index, &p(wanted)).map(|descriptor| descriptor.digest);
        assert_eq!(found, expected.map(|text| Digest::of(text.as_bytes())));
    }

    #[test]
    fn this_machine_has_a_platform_that_is_known() {
        let host = host();
        assert!(ARCHITECTURES.contains(&host.architecture.as_str()), "{host:?}");
        assert_eq!(p(&format(&host)), host);
        assert!(fits(&host, &host));
    }

    #[test]
    fn other_names_are_understood() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64/v8"),
            ("linux/arm64/8", "linux/arm64/v8"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel/v5", "linux/arm/v5"),
            ("macos/arm64", "darwin/arm64"),
            ("plan9/odd", "plan9/odd"),
        ] {
            assert_eq!(format(&p(text)), expected);
        }
        assert_eq!(p("s390x").architecture, "s390x");
        assert_eq!(p("linux").architecture, host().architecture);
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/a b", "ä/b"] {
            assert_eq!(parse(bad), Err(PlatformError::Shape(bad.to_owned())));
        }
        assert_eq!(parse("odd"), Err(PlatformError::Unknown("odd".to_owned())));
    }

    #[test]
    fn the_closest_variant_is_chosen() {
        let all = [
            "linux/amd64",
            "linux/arm/v5",
            "linux/arm/v7",
            "linux/arm/v6",
            "linux/arm64/v8",
            "unknown/unknown",
        ];
        chosen(&all, "linux/amd64", Some("linux/amd64"));
        chosen(&all, "linux/amd64/v3", Some("linux/amd64"));
        chosen(&all, "linux/arm", Some("linux/arm/v7"));
        chosen(&all, "linux/arm/v8", Some("linux/arm/v7"));
        chosen(&all, "linux/arm/v6", Some("linux/arm/v6"));
        chosen(&all, "linux/arm64", Some("linux/arm64/v8"));
        chosen(&all, "linux/riscv64", None);
        chosen(&all, "windows/amd64", None);
        chosen(&["linux/arm/v7"], "linux/arm/v6", None);
        chosen(&["linux/amd64/v3", "linux/amd64/v2"], "linux/amd64", None);
        chosen(&["linux/arm64", "linux/arm64/v9"], "linux/arm64/v8", Some("linux/arm64"));
        chosen(&["linux/mips64le/softfloat"], "linux/mips64le", None);
    }

    #[test]
    fn a_list_of_one_need_not_say_what_it_runs_on() {
        chosen(&[""], "linux/amd64", Some(""));
        chosen(&["", "linux/arm64"], "linux/amd64", None);
        chosen(&[], "linux/amd64", None);
    }

    #[test]
    fn a_build_of_windows_fits_that_build() {
        let with = |version: &str| Platform { os_version: Some(version.to_owned()), ..p("windows/amd64") };
        assert!(fits(&with("10.0.17763.1"), &with("10.0.17763.2")));
        assert!(!fits(&with("10.0.17763.1"), &with("10.0.20348.1")));
        assert!(fits(&with("10.0.17763.1"), &p("windows/amd64")));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[a-z0-9/.v]{0,30}") {
            if let Ok(platform) = parse(&text) {
                prop_assert_eq!(&parse(&format(&platform)).expect("again"), &platform);
                prop_assert!(fits(&platform, &platform));
            }
        }
    }
}
