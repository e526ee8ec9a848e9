//! The guide for another channel: its table of what names a channel is neither out of date nor short of a place.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use onepool_tests::workspace_root;

const GUIDE: &str = "shared/src/channel/README.md";
/// What is written there of the new channel, as it is of two that there are: one is called as its marketplace is, the other is not.
const SPELLED: [[(&str, &str); 3]; 2] = [
    [
        ("<name>", "elevenst"),
        ("<Name>", "ElevenSt"),
        ("<NAME>", "ELEVENST"),
    ],
    [
        ("<name>", "ownstore"),
        ("<Name>", "OwnStore"),
        ("<NAME>", "OWNSTORE"),
    ],
];

#[test]
fn everything_that_the_guide_names_is_there() {
    let root = workspace_root();
    for (places, wanted) in rows() {
        let files: Vec<PathBuf> = places
            .iter()
            .flat_map(|place| files(&root.join(place)))
            .collect();
        let texts: Vec<String> = files.iter().map(|file| read(file)).collect();
        for word in wanted {
            let is_there = if word.contains('/') {
                root.join(&word).exists()
            } else if word.ends_with(".rs") {
                files.iter().any(|file| file.ends_with(&word))
            } else {
                SPELLED.iter().any(|spelled| {
                    let word = spelled
                        .iter()
                        .fold(word.clone(), |word, (mark, name)| word.replace(mark, name));
                    texts.iter().any(|text| text.contains(&word))
                })
            };
            assert!(is_there, "{places:?} has no {word}");
        }
    }
}

#[test]
fn every_file_that_names_a_channel_is_in_the_guide() {
    let root = workspace_root();
    let mut places: BTreeSet<String> = rows()
        .into_iter()
        .flat_map(|(places, wanted)| places.into_iter().chain(wanted))
        .collect();
    // The steps before the table: its file, its line, its fixtures.
    places.insert("shared/src/channel/".to_owned());
    for file in files(&root) {
        if read(&file).to_lowercase().contains("elevenst") {
            let file = file.strip_prefix(&root).expect("it is in the workspace");
            assert!(
                places.iter().any(|place| file.starts_with(place)),
                "{} names a channel, and the guide does not name it",
                file.display()
            );
        }
    }
}

/// The rows of the guide's last table: places, and what is to be in them.
fn rows() -> Vec<(Vec<String>, Vec<String>)> {
    let guide = read(&workspace_root().join(GUIDE));
    let (_, table) = guide
        .split_once("| where | what to add |\n|---|---|\n")
        .expect("the guide has its table");
    let quoted = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let rows: Vec<_> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            (quoted(cells[1]), quoted(cells[2]))
        })
        .collect();
    assert!(rows.len() > 5, "{rows:?}");
    rows
}

/// A file, or those of a folder and of the folders in it; not what was built or installed.
fn files(place: &Path) -> Vec<PathBuf> {
    assert!(place.exists(), "there is no {}", place.display());
    let mut found = Vec::new();
    let mut places = vec![place.to_owned()];
    while let Some(place) = places.pop() {
        if place.is_file() {
            found.push(place);
            continue;
        }
        for entry in fs::read_dir(place).expect("it can be read").flatten() {
            let name = entry.file_name().into_string().expect("a plain name");
            if !name.starts_with('.') && name != "target" {
                places.push(entry.path());
            }
        }
    }
    found
}

/// Its text; what marketplaces answer is not all in UTF-8.
fn read(file: &Path) -> String {
    let bytes = fs::read(file).expect("a file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
