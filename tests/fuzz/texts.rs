//! The parsers of everything that comes as text: documents of images, instructions, structure tests, templates, names.

use plyfs::image::change::{apply, parse_all};
use plyfs::image::field_path::render;
use plyfs::image::structure_test::StructureTest;
use plyfs::oci::config::{ImageConfig, RunConfig};
use plyfs::oci::digest::Digest;
use plyfs::oci::manifest::{Index, Manifest};
use plyfs::oci::reference::Reference;

use crate::mutate::mutate;
use crate::rounds;

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":7},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","size":1234,"urls":["x"],"annotations":{"a":"b"}}],"annotations":{"k":"v"},"x":[1,2.5,null,true]}"#;
const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":7,"platform":{"architecture":"arm64","os":"linux","variant":"v8","os.features":["x"]},"annotations":{"org.opencontainers.image.ref.name":"a:1"}}]}"#;
const CONFIG: &[u8] = br#"{"created":"2024-05-31T12:00:00.5Z","author":"a","architecture":"amd64","os":"linux","config":{"User":"1:2","Env":["A=b"],"Cmd":["sh","-c","x"],"Entrypoint":null,"ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"Labels":{"l":"m"},"WorkingDir":"/","StopSignal":"SIGTERM","Healthcheck":{"Test":["CMD","x"],"Interval":30000000000,"Retries":3},"OnBuild":["RUN x"]},"rootfs":{"type":"layers","diff_ids":["sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"]},"history":[{"created":"2024-05-31T12:00:00Z","created_by":"x","empty_layer":true}]}"#;
const JSON_WORDS: &[&[u8]] = &[
    b"null",
    b"[",
    b"{",
    b"]",
    b"}",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"true",
    b",",
    b":",
    b"[[[[[[[[[[[[[[[[",
    b"sha256:",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\"layers\":null",
    b"9999999999999999999999",
];

#[test]
fn documents() {
    for (name, seed) in [("manifest", MANIFEST), ("index", INDEX), ("config", CONFIG)] {
        Manifest::parse(MANIFEST).unwrap();
        Index::parse(INDEX).unwrap();
        ImageConfig::parse(CONFIG).unwrap();
        let make = |random: &mut crate::Random| {
            let mut bytes = seed.to_vec();
            mutate(random, &mut bytes, JSON_WORDS);
            bytes
        };
        rounds(name, make, |bytes| {
            // What can be read can be written, and read again as the same.
            if let Ok(read) = Manifest::parse(bytes) {
                assert_eq!(Manifest::parse(&serde_json::to_vec(&read).unwrap()).unwrap(), read);
            }
            if let Ok(read) = Index::parse(bytes) {
                assert_eq!(Index::parse(&serde_json::to_vec(&read).unwrap()).unwrap(), read);
            }
            if let Ok(read) = ImageConfig::parse(bytes) {
                assert_eq!(ImageConfig::parse(&serde_json::to_vec(&read).unwrap()).unwrap(), read);
            }
        });
    }
}

const INSTRUCTIONS: &[u8] = br#"CMD ["sh", "-c", "echo \"$HOME\""]
ENTRYPOINT /bin/x 'a b' ${A:-b}
ENV A=b "C=d e" F=\ g H=$A/${B}
EXPOSE 80 443/tcp 8000-8010/udp
HEALTHCHECK --interval=5m --timeout=3s --retries=2 CMD curl -f http://x || exit 1
LABEL a="b c" 'd'=e
ONBUILD RUN echo
STOPSIGNAL SIGRTMIN+3
USER 1:2
VOLUME ["/a", "/b"]
WORKDIR a/b/../c"#;
const INSTRUCTION_WORDS: &[&[u8]] = &[
    b"\"",
    b"'",
    b"\\",
    b"$",
    b"${",
    b"}",
    b"${A",
    b":-",
    b":+",
    b"[",
    b"]",
    b",",
    b"=",
    b" ",
    b"\t",
    b"-",
    b"/",
    b"--interval=",
    b"99999999999999999999",
    b"1-",
    b"\xc3\xa4",
    b"SIGRTMAX-",
    b"CMD ",
    b"ONBUILD ONBUILD ",
    b"\0",
    b"65536",
];

#[test]
fn instructions() {
    let make = |random: &mut crate::Random| {
        let mut bytes = INSTRUCTIONS.to_vec();
        mutate(random, &mut bytes, INSTRUCTION_WORDS);
        bytes
    };
    rounds("instructions", make, |bytes| {
        for line in String::from_utf8_lossy(bytes).lines() {
            if let Ok(changes) = parse_all(&[line]) {
                let mut config = RunConfig {
                    env: Some(vec!["A=x".to_owned()]).into_iter().flatten().collect(),
                    ..RunConfig::default()
                };
                if apply(&changes, &mut config).is_ok() {
                    serde_json::to_string(&config).unwrap();
                }
                assert!(changes.iter().all(|change| !change.describe().is_empty()));
            }
        }
    });
}

const STRUCTURE: &[u8] = br#"schemaVersion: "2.0.0"
fileExistenceTests:
  - {name: a, path: /bin/sh, shouldExist: true, permissions: "-rwxr-xr-x", uid: 0, gid: 0, isExecutableBy: any}
fileContentTests:
  - name: b
    path: /etc/passwd
    expectedContents: ['^root:.*$', "[a-z]+(x|y)*"]
    excludedContents: ['x{2,3}']
metadataTest:
  envVars: [{key: A, value: b, isRegex: true}]
  exposedPorts: ["80"]
  cmd: ["sh"]
  labels: &x [{key: l, value: m}]
commandTests:
  - {name: c, command: sh, args: [-c, x], expectedOutput: ["x"]}
"#;
const YAML_WORDS: &[&[u8]] = &[
    b"&x ",
    b"*x",
    b"<<: *x",
    b"!!binary ",
    b"- ",
    b": ",
    b"|\n",
    b">\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"'",
    b"\"",
    b"\n",
    b"  ",
    b"?",
    b"%YAML",
    b"---\n",
    b"...\n",
    b"(",
    b")",
    b"*",
    b"{999999999}",
    b"(?:a*)*",
    b"\\",
    b"\xf0\x9f\x98\x80",
    b"\0",
    b"1e9",
    b"~",
];

#[test]
fn structure_tests() {
    let make = |random: &mut crate::Random| {
        let mut bytes = STRUCTURE.to_vec();
        mutate(random, &mut bytes, YAML_WORDS);
        bytes
    };
    rounds("structure-tests", make, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        drop(StructureTest::parse(&text));
    });
}

const TEMPLATE: &[u8] = br#"{{range $i, $e := .Layers}}{{if $i}}, {{end}}{{$e.Size | json}}{{else}}none{{end}}\t{{- with .Config.Env }}{{join . ","}}{{end -}}{{index .Labels "a b"}}{{/* c */}}{{printf "%5d %-8s %q %v" .N .S .S .}}{{upper (slice .S 0 3)}}"#;
const TEMPLATE_WORDS: &[&[u8]] = &[
    b"{{",
    b"}}",
    b"{{-",
    b"-}}",
    b"{{end}}",
    b"{{range .}}",
    b"{{if",
    b"(",
    b")",
    b"|",
    b".",
    b"$",
    b":=",
    b"\"",
    b"`",
    b"'",
    b"%",
    b"%99999999d",
    b"%*d",
    b"9999999999999999999",
    b"-1",
    b"len ",
    b"slice ",
    b"index ",
    b"\\",
    b"\xc3\xa4",
    b"{{else}}",
    b"{{/*",
];

#[test]
fn templates() {
    let value = serde_json::json!({
        "Layers": [{"Size": 5}, {"Size": -1}], "Config": {"Env": ["A=b", "ä"]}, "Labels": {"a b": "c"}, "N": 7, "S": "tëxt",
        "Deep": [[[[]]]], "Null": null, "Big": u64::MAX, "F": 1.5e300
    });
    let make = |random: &mut crate::Random| {
        let mut bytes = TEMPLATE.to_vec();
        mutate(random, &mut bytes, TEMPLATE_WORDS);
        bytes
    };
    rounds("templates", make, |bytes| drop(render(&String::from_utf8_lossy(bytes), &value)));
}

#[test]
fn names() {
    let make = |random: &mut crate::Random| {
        let mut bytes = b"registry.example.org:5000/a-b/c__d.e:v1.0@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb".to_vec();
        mutate(
            random,
            &mut bytes,
            &[b"/", b":", b"@", b".", b"..", b"-", b"_", b"A", b"[::1]", b"\xc3\xa4", b"\0", b" "],
        );
        bytes
    };
    rounds("names", make, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(reference) = text.parse::<Reference>() {
            let familiar = reference.familiar();
            assert_eq!(familiar.parse::<Reference>().map(|r| r.familiar()), Ok(familiar));
        }
        drop(text.parse::<Digest>());
    });
}
