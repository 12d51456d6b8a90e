//! Templates as people write them, and broken ones.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn image() -> Value {
    json!({
        "Id": "sha256:abc",
        "Size": 12345,
        "Ratio": 0.5,
        "Names": ["a:1", "b:2"],
        "Config": {"Env": ["PATH=/bin", "A=1"], "Cmd": null, "Labels": {"b": "2", "a.x": "<1>"}, "Tty": false},
        "RootFS": {"Type": "layers", "Layers": []},
        "Mounts": [{"Name": "m", "Modes": [1, 2]}, {"Name": "n", "Modes": []}],
    })
}

fn rendered(template: &str) -> String {
    render(template, &image()).unwrap_or_else(|e| panic!("{template}: {e}"))
}

#[track_caller]
fn refused(template: &str, expected: &str) {
    let error = render(template, &image()).expect_err(template).to_string();
    assert!(error.contains(expected), "{template}: {error}");
}

#[test]
fn templates_give_what_docker_gives() {
    for (template, expected) in [
        ("", ""),
        ("plain", "plain"),
        ("{{.Id}}", "sha256:abc"),
        ("{{ .Id }}\\t{{.Size}}\\n", "sha256:abc\t12345\n"),
        ("{{.Config.Env}}", "[PATH=/bin A=1]"),
        ("{{.Config.Labels}}", "map[a.x:<1> b:2]"),
        ("{{.Config.Cmd}}", "<no value>"),
        ("{{.Config.Tty}} {{.Ratio}}", "false 0.5"),
        ("{{.RootFS.Layers}}", "[]"),
        ("{{json .Config.Labels}}", "{\"a.x\":\"<1>\",\"b\":\"2\"}"),
        ("{{.Names | json}}", "[\"a:1\",\"b:2\"]"),
        ("{{json .Config.Cmd}}", "null"),
        ("{{index .Config.Env 0}}", "PATH=/bin"),
        ("{{index .Config.Labels \"a.x\"}}", "<1>"),
        ("{{index .Config.Labels \"none\"}}", ""),
        ("{{(index .Mounts 1).Name}}", "n"),
        ("{{index .Mounts 0 \"Modes\" 1}}", "2"),
        ("{{len .Config.Env}} {{len .Config.Cmd}} {{len .Id}}", "2 0 10"),
        ("{{join .Names \",\"}}", "a:1,b:2"),
        ("{{.Names | join \",\"}}", "a:1,b:2"),
        ("{{range .Names}}<{{.}}>{{end}}", "<a:1><b:2>"),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.x=<1>;b=2;"),
        ("{{range $i, $n := .Names}}{{if $i}}, {{end}}{{$n}}{{end}}", "a:1, b:2"),
        ("{{range .Mounts}}{{.Name}}{{range .Modes}}{{.}}{{$.Ratio}}{{end}}{{end}}", "m10.520.5n"),
        ("{{range $m := .Mounts}}{{$m.Name}}{{end}}", "mn"),
        ("{{if .Config.Tty}}a{{else if .Config.Cmd}}b{{else}}c{{end}}", "c"),
        ("{{with .RootFS}}{{.Type}}{{end}}", "layers"),
        ("{{if and .Id (not .Config.Tty)}}y{{end}}", "y"),
        ("{{if eq .RootFS.Type \"layers\"}}y{{end}}{{if ne .Size 1}}z{{end}}", "yz"),
        ("{{upper .Id}} {{.Id | upper | lower}}", "SHA256:ABC sha256:abc"),
        ("{{truncate .Id 6}}{{title \"ab cd\"}}", "sha256Ab Cd"),
        ("{{index (split .Id \":\") 1}}", "abc"),
        ("{{\"\\t\"}}|{{`}}`}}|{{\"}}\"}}", "\t|}}|}}"),
        ("{{println .Id}}{{print .Id \"x\"}}", "sha256:abc\nsha256:abcx"),
        ("a {{- /* }} no */ -}} b", "ab"),
        ("a {{- .Size -}} b", "a12345b"),
        ("{{true}}{{nil}}{{-1}}", "true<no value>-1"),
        ("{{.Mounts}}", "[map[Modes:[1 2] Name:m] map[Modes:[] Name:n]]"),
        ("}} { {", "}} { {"),
    ] {
        assert_eq!(rendered(template), expected, "{template}");
    }
}

#[test]
fn numbers_are_printed_as_in_go() {
    let value = json!([18_446_744_073_709_551_615_u64, -1, 1.0, 0.0001, 0.00001, 1e21, 1.5e300, null]);
    let printed = render("{{.}}", &value).expect("good");
    assert_eq!(printed, "[18446744073709551615 -1 1 0.0001 1e-05 1e+21 1.5e+300 <nil>]");
}

#[test]
fn errors_name_the_field_and_those_that_exist() {
    refused("{{.Config.env}}", "no field .Config.env; .Config has Cmd, Env, Labels, Tty");
    refused("{{.Foo.Bar}}", "no field .Foo; the whole has Config, Id");
    refused("{{.Id.x}}", "no field .Id.x; .Id is a text");
    refused("{{.Config.Cmd.x}}", ".Config.Cmd is null");
    refused("{{$.x}}", "no field $.x; $ has Config");
    refused("{{range .Mounts}}{{.Id}}{{end}}", "no field .Id; the whole has Modes, Name");
}

#[test]
fn broken_templates_are_errors() {
    for (template, expected) in [
        ("{{.Id", "{{.Id\" is not closed"),
        ("{{\"}}", "not closed"),
        ("{{}}", "a value is missing"),
        ("{{.Id .Size}}", "where a function is expected"),
        ("{{foo .Id}}", "no function \"foo\"; there are and, eq"),
        ("{{.Id | .Size}}", "must be a function"),
        ("{{json}}", "takes one value; 0 given"),
        ("{{index .Names 2}}", "no member 2 in a list of 2"),
        ("{{index .Names -1}}", "no member -1"),
        ("{{index .Names \"a\"}}", "a list has no member at a"),
        ("{{len .Size}}", "no length"),
        ("{{join .Id \",\"}}", "takes a list"),
        ("{{upper .Size}}", "takes a text, not a number"),
        ("{{range .Names}}", "not closed by {{end}}"),
        ("{{end}}", "has no {{range}}"),
        ("{{if .Id}}{{else}}{{else}}{{end}}", "not closed by {{end}}"),
        ("{{range .Size}}{{end}}", "a number has no members"),
        ("{{$x}}", "variable $x is not defined"),
        ("{{range $x := .Names}}{{end}}{{$x}}", "not defined"),
        ("{{range $a, $b, $c := .Names}}{{end}}", "one or two variables"),
        ("{{(.Id}}", "bracket is not closed"),
        ("{{.Id)}}", "not opened"),
        ("{{1x}}", "bad number"),
        ("{{\"\\q\"}}", "escape"),
        ("{{#}}", "no meaning"),
        (&"{{if .Id}}".repeat(100), "nested too deeply"),
        (&format!("{{{{{}", "(".repeat(100)), "not closed"),
        (&format!("{{{{{}}}}}", "(".repeat(100)), "nested too deeply"),
    ] {
        refused(template, expected);
    }
}

proptest! {
    #[test]
    fn no_template_makes_it_panic(template in "\\PC*|(\\{\\{|\\}\\}|[.$|()\"` ,:=-]|range|if|end|else|index|Names|1){0,20}") {
        // What comes of it is of no interest here.
        let _result = render(&template, &image());
    }
}
