//! The verbs that list what a store holds: images, inspect, history, ps, df.

use serde_json::{Value, json};

use crate::images_fixture::{COMMAND, Images};

fn texts<'a>(rows: &'a Value, field: &str) -> Vec<&'a str> {
    rows.as_array().unwrap().iter().map(|row| row[field].as_str().unwrap()).collect()
}

#[test]
fn images_are_listed_by_name_the_newest_first() {
    let images = Images::new();
    let table = images.good("images");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    let names: Vec<&[&str]> = lines[1..].iter().map(|line| &line[..2]).collect();
    assert_eq!(names, [["app", "1"], ["app", "latest"], ["base", "1"]]);
    assert!(table.contains("years ago"), "{table}");

    let rows = images.json("images --no-trunc");
    assert_eq!(texts(&rows, "Tag"), ["1", "latest", "1"]);
    assert_eq!(rows[2]["CreatedAt"], "2001-09-09 01:46:40 +0000 UTC");
    assert_eq!(rows[0]["Names"], json!(["app:1", "app:latest"]));
    assert_eq!(rows[0]["Labels"]["x"], "<1>");
    assert!(rows[0]["ID"].as_str().unwrap().starts_with("sha256:"));
    assert!(rows[0]["SizeBytes"].as_u64() > rows[2]["SizeBytes"].as_u64());

    let template = "images --format {{.Repository}}:{{.Tag}}={{.Containers}}";
    assert_eq!(images.good(template), "app:1=0\napp:latest=0\nbase:1=0\n");
    let table = images.with("images --format", "table {{.Tag}}\\t{{.ID}}").good();
    assert!(table.starts_with("TAG      IMAGE ID\n1        "), "{table}");
    assert!(
        images
            .good("images --digests")
            .lines()
            .all(|line| line.contains("sha256:") || line.contains("DIGEST"))
    );
}

#[test]
fn images_are_chosen_by_filters() {
    let images = Images::new();
    let short = images.good("images --quiet");
    assert_eq!(short.lines().count(), 2, "one ID has two names: {short}");
    let shown = |line: &str| {
        images.good(&format!("images {line} --format {{{{.Repository}}}}:{{{{.Tag}}}}")).replace('\n', " ")
    };
    for (line, expected) in [
        ("app", "app:1 app:latest "),
        ("app:1", "app:1 "),
        ("docker.io/library/app:latest", "app:latest "),
        ("ap*", "app:1 app:latest "),
        ("none", ""),
        ("-f label=stage", "app:1 app:latest base:1 "),
        ("-f label=stage=base", "base:1 "),
        ("-f label=stage -f label=x=<1>", "app:1 app:latest "),
        ("-f before=app:1", "base:1 "),
        ("-f since=base:1", "app:1 app:latest "),
        ("-f reference=*:1", "app:1 base:1 "),
        ("-f reference=b?se -f reference=app:l*", "app:latest base:1 "),
        ("-f dangling=true", ""),
        ("-f dangling=false app:1", "app:1 "),
    ] {
        assert_eq!(shown(line), expected, "{line}");
    }
    images.good("tag base:1 app:1");
    images.good("untag app:latest");
    assert_eq!(shown("-f dangling=true"), "<none>:<none> ");
    assert_eq!(shown(""), "<none>:<none> app:1 base:1 ");
    for (line, expected) in [
        ("-f nonsense=1", "unknown filter \"nonsense=1\"; known are dangling"),
        ("-f dangling=maybe", "true or false"),
        ("-f before=none", "no image is called \"none\""),
        ("-f reference=[", "is no pattern"),
        ("--format {{.Nope}}", "no field .Nope"),
    ] {
        let said = images.run(&format!("images {line}"));
        assert!(said.code == Some(1) && said.err.contains(expected), "{line}: {said:?}");
    }
}

#[test]
fn inspect_tells_all_in_dockers_words() {
    let images = Images::new();
    images.good("create --name web app:1");
    let all: Value = serde_json::from_str(&images.good("inspect app:1 web")).unwrap();
    let (image, container) = (&all[0], &all[1]);
    assert_eq!(image["RepoTags"], json!(["app:1", "app:latest"]));
    assert_eq!(image["RepoDigests"].as_array().unwrap().len(), 1);
    assert_eq!((&image["Author"], &image["Comment"]), (&json!("me"), &json!("")));
    assert_eq!(image["Config"]["Cmd"], json!(["tool"]));
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 3);
    assert_eq!((&container["Name"], &container["Image"]), (&json!("web"), &image["Id"]));
    assert_eq!((&container["Path"], &container["Mounted"]), (&json!("tool"), &json!(false)));

    for (template, expected) in [
        ("{{.Config.Entrypoint}}{{.Config.Volumes}}{{.Config.WorkingDir}}|{{.DockerVersion}}", "[]map[]|\n"),
        ("{{json .Config.Labels}}", "{\"stage\":\"app\",\"x\":\"<1>\"}\n"),
        ("{{index .Config.Labels \"stage\"}} {{.Os}}/{{.Architecture}}{{.Variant}}", "app linux/amd64\n"),
    ] {
        let said = images.with("inspect app:1 --format", template).good();
        assert_eq!(said, expected, "{template}");
    }
}

#[test]
fn inspect_tells_what_is_missing_after_the_others() {
    let images = Images::new();
    let said = images.run("inspect none base:1 nil");
    assert_eq!(said.code, Some(1));
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert!(said.err.contains("\"none\"") && said.err.contains("\"nil\""), "{}", said.err);
}

#[test]
fn history_is_told_from_the_newest_step_on() {
    let images = Images::new();
    let table = images.good("history app:1");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("IMAGE          CREATED"), "{table}");
    assert_eq!(lines.len(), 5, "{table}");
    assert!(lines[2].contains("RUN make all that is needed for a rather lon…"), "{table}");
    assert!(lines[2].starts_with("<missing>") && !lines[1].starts_with("<missing>"), "{table}");

    let rows = images.json("history --no-trunc app:1");
    let id = images.json("inspect app:1")[0]["Id"].clone();
    assert_eq!((&rows[0]["ID"], &rows[0]["Tags"]), (&id, &json!(["app:1", "app:latest"])));
    assert_eq!(
        texts(&rows, "CreatedBy"),
        ["RUN rm", &COMMAND.replace('\t', " "), "CMD [\"tool\"]", "ADD base"]
    );
    assert_eq!((&rows[2]["SizeBytes"], &rows[2]["CreatedAt"]), (&json!(0), &json!("2020-01-01T00:00:02Z")));
    assert_eq!(images.good("history -q app:1").lines().skip(1).collect::<Vec<_>>(), ["<missing>"; 3]);
    assert_eq!(images.good("history base:1 --format {{.Comment}}"), "first\n");
    assert_eq!(images.run("history none").code, Some(1));
}

#[test]
fn an_image_made_of_another_has_it_in_its_history() {
    let images = Images::new();
    images.good("create --name web base:1");
    images.good("commit -m second web next:1");
    let rows = images.json("history --no-trunc next:1");
    let base = images.json("inspect base:1")[0]["Id"].clone();
    assert_eq!((&rows[1]["ID"], &rows[1]["Tags"]), (&base, &json!(["base:1"])));
    assert_eq!(images.json("inspect next:1")[0]["Parent"], base);
    assert_eq!(images.json("inspect app:1")[0]["Parent"], "", "its history is another");
}

#[test]
fn containers_are_listed() {
    let images = Images::new();
    images.good("create --name web app:1");
    images.good("create --name db base:1");
    assert_eq!(images.good("ps").lines().count(), 1, "none is mounted");
    let table = images.good("ps -a");
    let title = table.lines().next().unwrap().split("   ").map(str::trim).filter(|t| !t.is_empty());
    let titles = ["CONTAINER ID", "IMAGE", "CREATED", "STATUS", "MOUNT POINT", "NAMES"];
    assert_eq!(title.collect::<Vec<_>>(), titles);
    let rows = images.json("ps -a --no-trunc");
    assert_eq!((texts(&rows, "Names"), texts(&rows, "Status")), (vec!["db", "web"], vec!["Created"; 2]));
    assert_eq!((&rows[1]["Image"], &rows[1]["Command"]), (&json!("app:1"), &json!("tool")));
    assert_eq!(rows[0]["ID"].as_str().unwrap().len(), 64);
    assert!(images.good("ps -as").lines().next().unwrap().ends_with("SIZE"));
    assert_eq!(
        images.good("ps -a --format {{.Names}}/{{.MountPoint}}{{.State}}"),
        "db/created\nweb/created\n"
    );
    assert_eq!(images.good("ps -aq").lines().map(str::len).collect::<Vec<_>>(), [12, 12]);
}

#[test]
fn room_is_added_up() {
    let images = Images::new();
    images.good("create --name web base:1");
    let rows = images.json("df");
    assert_eq!(texts(&rows, "Type"), ["Images", "Containers"]);
    assert_eq!((&rows[0]["TotalCount"], &rows[0]["Active"]), (&json!(2), &json!(1)));
    assert_eq!((&rows[1]["TotalCount"], &rows[1]["Active"]), (&json!(1), &json!(0)));
    let size = |field: &str| rows[0][field].as_u64().unwrap();
    assert!(0 < size("ReclaimableBytes") && size("ReclaimableBytes") < size("SizeBytes"));
    assert!(images.good("df").starts_with("TYPE         TOTAL   ACTIVE   SIZE"));

    let all = images.json("df -v");
    let base = all["Images"].as_array().unwrap().iter().find(|row| row["Repository"] == "base").unwrap();
    assert_eq!((&base["UniqueSizeBytes"], &base["Containers"]), (&json!(0), &json!(1)));
    assert_eq!(all["Containers"][0]["Names"], "web");
    let table = images.good("df -v");
    assert!(table.contains("SHARED SIZE   UNIQUE SIZE   CONTAINERS\n"), "{table}");
    assert!(table.contains("\nContainers space usage:\n\nCONTAINER ID   IMAGE "), "{table}");
}

#[test]
fn a_new_store_has_nothing_to_list() {
    let scratch = crate::scratch::Scratch::new();
    assert_eq!(scratch.run("--root new images").good(), "REPOSITORY   TAG   IMAGE ID   CREATED   SIZE\n");
    assert_eq!(scratch.run("--root new ps -a --format json").good(), "[]\n");
    let rows: Value = serde_json::from_str(&scratch.run("--root new df --format json").good()).unwrap();
    assert_eq!((&rows[0]["Size"], &rows[0]["Reclaimable"]), (&json!("0B"), &json!("0B")));
}

#[test]
fn a_damaged_image_does_not_hide_the_others() {
    let images = Images::new();
    let id = images.json("inspect base:1")[0]["Id"].as_str().unwrap().replace("sha256:", "");
    std::fs::remove_file(images.0.path(format!("store/blobs/sha256/{id}"))).unwrap();
    for (line, lines) in [("images", 4), ("df", 3), ("df -v", 9), ("history app:1", 5)] {
        let said = images.run(line);
        assert_eq!((said.code, said.out.lines().count()), (Some(0), lines), "{line}: {said:?}");
    }
    let said = images.run("images");
    assert!(said.err.contains("image base:1: ") && said.out.contains("\nbase         1        "), "{said:?}");
    assert_eq!(images.run("inspect base:1").code, Some(1));
}
