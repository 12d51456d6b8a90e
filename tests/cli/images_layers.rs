//! `plyfs layers` and `plyfs test`: what is in an image, without a mount.

use std::fs;

use serde_json::{Value, json};

use crate::images_fixture::Images;

#[test]
fn layers_tell_what_they_add_change_delete_and_waste() {
    let images = Images::new();
    let view = images.json("layers app:1");
    let numbers = |field: &str| -> Vec<u64> {
        view["Layers"].as_array().unwrap().iter().map(|layer| layer[field].as_u64().unwrap()).collect()
    };
    assert_eq!((numbers("Added"), numbers("Changed")), (vec![6, 1, 0], vec![0, 1, 0]));
    assert_eq!((numbers("AddedBytes"), numbers("ChangedBytes")), (vec![1051, 3, 0], vec![0, 2000, 0]));
    // The big file was replaced, then deleted with a directory of two small ones.
    assert_eq!((numbers("Deleted"), numbers("WastedBytes")), (vec![0, 0, 2], vec![0, 1000, 2030]));
    assert_eq!((&view["SizeBytes"], &view["WastedBytes"]), (&json!(3054), &json!(3030)));
    assert!((view["Efficiency"].as_f64().unwrap() - 24.0 / 3054.0).abs() < 1e-9);
    assert_eq!(view["Layers"][0]["CreatedBy"], "ADD base");
    assert_eq!(view["Layers"][2]["CreatedBy"], "RUN rm", "a step without a layer is passed over");

    let table = images.good("layers app:1");
    assert!(table.starts_with("LAYER   ADDED   BYTES"), "{table}");
    assert!(table.ends_with("\nTotal: 3 layers, 3.05kB, 3.03kB wasted, efficiency 0.8%\n"), "{table}");
    assert_eq!(images.good("layers app:1 --format {{.Layer}}={{.Wasted}}"), "1=0B\n2=1kB\n3=2.03kB\n");
}

#[test]
fn layers_list_files_and_waste() {
    let images = Images::new();
    let text = images.good("layers --files app:1");
    assert!(text.contains("\nA    1.0") || text.contains("\nA      1kB /usr/big\n"), "{text}");
    assert!(text.contains("\nC      2kB /usr/big\n") && text.contains("\nD       0B /usr/old\n"), "{text}");
    let view = images.json("layers --files app:1");
    let third: Vec<String> = view["Layers"][2]["Files"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(third, ["C /usr", "D /usr/big", "D /usr/old"]);

    let wasted = images.json("layers --wasted app:1");
    let rows: Vec<_> = wasted.as_array().unwrap().iter().collect();
    let expected = [("/usr/big", 2, 3000), ("/usr/old/b", 1, 20), ("/usr/old/a", 1, 10)];
    assert_eq!(rows.len(), expected.len());
    for (row, (path, layers, bytes)) in rows.iter().zip(expected) {
        assert_eq!(
            (&row["Path"], &row["Layers"], &row["WastedBytes"]),
            (&json!(path), &json!(layers), &json!(bytes))
        );
    }
    assert!(
        images
            .good("layers --wasted app:1")
            .starts_with("LAYERS   WASTED   PATH\n2        3kB      /usr/big\n")
    );
    let whole = images.good("layers base:1");
    assert!(whole.ends_with("Total: 1 layer, 1.05kB, 0B wasted, efficiency 100.0%\n"), "{whole}");
    assert_eq!(images.run("layers none").code, Some(1));
}

fn line(change: &Value) -> String {
    format!("{} {}", change["Kind"].as_str().unwrap(), change["Path"].as_str().unwrap())
}

const PASSING: &str = r#"
schemaVersion: 2.0.0
fileExistenceTests:
- { name: tool, path: /usr/tool, permissions: "-rwsr-xr-x", uid: 7, gid: 7, isExecutableBy: any }
- { name: link, path: /link, permissions: "-rw-r--r--", uid: 0 }
- { name: gone, path: /usr/old/a, shouldExist: false }
- { name: variable, path: $PATH/tool }
- { name: root, path: /, permissions: drwxr-xr-x, uid: 0 }
fileContentTests:
- { name: users, path: /link, expectedContents: ["^root:"], excludedContents: ["bob"] }
metadataTest:
  cmd: [tool]
  labels: [{ key: stage, value: app }]
licenseTests: [{ debian: true, files: [] }]
"#;

const FAILING: &str = r#"{ "schemaVersion": "2.0.0", "fileExistenceTests": [
    { "name": "big", "path": "/usr/big" }, { "name": "new", "path": "/etc/new", "permissions": "-rw-r--r--" }] }"#;

#[test]
fn images_are_tested_without_a_mount() {
    let images = Images::new();
    fs::write(images.0.path("pass.yaml"), PASSING).unwrap();
    fs::write(images.0.path("fail.json"), FAILING).unwrap();
    let report = images.good("test app:1 pass.yaml");
    assert!(
        report
            .starts_with("KIND                  NAME       RESULT\nFile Existence Test   tool       pass\n"),
        "{report}"
    );
    assert!(report.contains("\nLicense Test                     skipped\n"), "{report}");
    assert!(report.contains("skipped:\n  tests of licenses are not supported\n"), "{report}");
    assert!(report.ends_with("\n7 passed, 0 failed, 1 skipped\n"), "{report}");

    let said = images.run("test app:1 pass.yaml fail.json");
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""));
    assert!(said.out.contains("\nFile Existence Test big failed:\n  /usr/big should exist and does not\n"));
    assert!(said.out.contains("permissions -rw-------; -rw-r--r-- was expected"), "{}", said.out);
    assert!(said.out.ends_with("\n7 passed, 2 failed, 1 skipped\n"), "{}", said.out);
    assert_eq!(images.run("test base:1 fail.json").code, Some(1));

    let said = images.run("test --format json app:1 fail.json");
    let rows: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (said.code, &rows[0]["Result"], &rows[0]["File"]),
        (Some(1), &json!("fail"), &json!("fail.json"))
    );
    let said = images.run("test app:1 pass.yaml --format {{.Name}}={{.Result}}");
    assert!(said.out.starts_with("tool=pass\nlink=pass\n"), "{}", said.out);
}

#[test]
fn files_without_tests_are_refused() {
    let images = Images::new();
    for (text, expected) in [
        ("schemaVersion: 1.0.0", "only \"2.0.0\" is supported"),
        ("schemaVersion: 2.0.0\nfileTests: []", "unknown field"),
        ("- x", "cannot read the structure tests"),
    ] {
        fs::write(images.0.path("bad.yaml"), text).unwrap();
        let said = images.run("test app:1 bad.yaml");
        assert!(
            said.code == Some(1) && said.err.contains(expected) && said.out.is_empty(),
            "{text}: {said:?}"
        );
        assert!(said.err.contains("bad.yaml"), "{}", said.err);
    }
    assert_eq!(images.run("test app:1 none.yaml").code, Some(1));
    fs::write(images.0.path("good.yaml"), PASSING).unwrap();
    assert!(images.run("test none good.yaml").err.contains("no image is called"));
}
