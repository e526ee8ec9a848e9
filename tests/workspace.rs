//! A folder named `tests` in a workspace without a root package is compiled only as a member, and only what its manifest
//! names. A file that is not named would rot unseen, so this looks.

use std::{collections::BTreeSet, fs, path::Path};

use onepool::channel::MARKETPLACES;
use onepool_tests::workspace_root;

#[test]
fn every_file_in_this_folder_is_compiled() {
    let root = workspace_root();
    let workspace =
        fs::read_to_string(root.join("Cargo.toml")).expect("the workspace has a manifest");
    let members = workspace
        .lines()
        .find(|line| line.starts_with("members"))
        .expect("the workspace has members");
    assert!(
        members.contains("\"tests\""),
        "tests/ is not a member: nothing here would be compiled"
    );

    let manifest =
        fs::read_to_string(root.join("tests/Cargo.toml")).expect("tests/ has a manifest");
    let named: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| {
            line.strip_prefix("path = \"")?
                .strip_suffix("\"")
                .map(str::to_owned)
        })
        .filter(|path| !path.contains('/') || path.ends_with("/main.rs"))
        .collect();
    let mut present = BTreeSet::new();
    for name in names(&root.join("tests")) {
        let folder = root.join("tests").join(&name);
        if name.ends_with(".rs") {
            present.insert(name);
        } else if let Ok(main) = fs::read_to_string(folder.join("main.rs")) {
            for file in names(&folder) {
                let module = file.trim_end_matches(".rs");
                assert!(
                    module == "main" || main.contains(&format!("mod {module};")),
                    "{name}/main.rs does not name {file}"
                );
            }
            present.insert(format!("{name}/main.rs"));
        }
    }
    assert_eq!(
        present, named,
        "files in tests/ and [[test]] entries of its manifest differ"
    );
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .expect("a folder can be read")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let root = workspace_root();
    let table = fs::read_to_string(root.join("tests/README.md")).expect("tests/ has a README");
    let quoted = table.split('`').skip(1).step_by(2);
    for (path, test) in quoted.filter_map(|name| name.rsplit_once("::")) {
        let file = format!("{}.rs", path.replace("::", "/"));
        let text = fs::read_to_string(root.join("tests").join(&file))
            .or_else(|_| fs::read_to_string(root.join("shared/src").join(&file)))
            .unwrap_or_else(|_| panic!("there is no {file}"));
        assert!(
            text.contains(&format!("fn {test}(")),
            "{file} has no {test}"
        );
    }
}

#[test]
fn every_crate_keeps_the_workspaces_lints_and_unwinds_on_panic() {
    let root = workspace_root();
    for folder in ["functions", "infra"] {
        for entry in fs::read_dir(root.join(folder))
            .expect("the folder can be read")
            .flatten()
        {
            if let Ok(manifest) = fs::read_to_string(entry.path().join("Cargo.toml")) {
                assert!(
                    manifest.contains("[lints]\nworkspace = true"),
                    "{:?} has no lints",
                    entry.path()
                );
            }
        }
    }
    let workspace =
        fs::read_to_string(root.join("Cargo.toml")).expect("the workspace has a manifest");
    let release = workspace
        .split("[profile.release]")
        .nth(1)
        .expect("a release profile");
    assert!(
        release.contains("panic = \"unwind\""),
        "the build tool would abort on panic"
    );
}

#[test]
fn a_functions_main_wires_and_nothing_else() {
    for entry in fs::read_dir(workspace_root().join("functions"))
        .expect("functions/ can be read")
        .flatten()
    {
        let main =
            fs::read_to_string(entry.path().join("src/main.rs")).expect("a function has a main.rs");
        assert!(
            main.lines().count() <= 30,
            "{:?} does more than wire",
            entry.path()
        );
        for file in ["README.md", "event.json"] {
            assert!(
                entry.path().join(file).exists(),
                "{:?} has no {file}",
                entry.path()
            );
        }
    }
}

#[test]
fn the_environment_is_read_in_one_place() {
    let mut folders = vec![
        workspace_root().join("shared/src"),
        workspace_root().join("functions"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)
            .expect("a folder can be read")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("config.rs")
            {
                let text = fs::read_to_string(&path).expect("a file can be read");
                assert!(!text.contains("env::var"), "{path:?} reads the environment");
            }
        }
    }
}

#[test]
fn the_guide_and_the_template_name_every_credential() {
    let root = workspace_root();
    let read = |path: &Path| fs::read_to_string(path).expect("a file can be read");
    let channels = root.join("shared/src/channel");
    let (guide, template) = (
        read(&channels.join("README.md")),
        read(&root.join("template.yaml")),
    );
    for (marketplace, _) in MARKETPLACES {
        let folder = channels.join(marketplace);
        let file = fs::read_to_string(folder.with_extension("rs"));
        let source: String = file.unwrap_or_else(|_| {
            let mut files = names(&folder);
            files.retain(|name| name.ends_with(".rs"));
            files.iter().map(|name| read(&folder.join(name))).collect()
        });
        let asked = |verb: &str| -> BTreeSet<&str> {
            let call = format!("{verb}(\"");
            let names = source.split(&call).skip(1);
            names.filter_map(|name| name.split('"').next()).collect()
        };
        let (needed, optional) = (asked("setup.credential"), asked(".optional"));
        assert!(!needed.is_empty(), "{marketplace} lets everybody in");

        let row = guide
            .lines()
            .find(|line| line.starts_with(&format!("| `{marketplace}` |")))
            .unwrap_or_else(|| panic!("the guide has no {marketplace}"));
        let told: Vec<BTreeSet<&str>> = row
            .split('|')
            .map(|cell| cell.split('`').skip(1).step_by(2).collect())
            .collect();
        assert_eq!(told[3], needed, "what {marketplace} needs");
        assert_eq!(told[4], optional, "what {marketplace} may have");
        let is_told = template.lines().any(|line| {
            line.contains("secret, a JSON object -")
                && needed.union(&optional).all(|name| line.contains(name))
        });
        assert!(
            is_told,
            "no parameter's description has all of {marketplace}"
        );
    }
}
