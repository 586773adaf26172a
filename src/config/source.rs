//! The file: reading it, and finding the line and column of a place in it.

use std::cell::Cell;
use std::io::Read as _;

use serde::de::DeserializeSeed as _;

use super::error::ConfigError;
use super::path::{Path, Segment, shortened};
use super::tree::{self, Finder, Progress, Tree};
use crate::promotion::fault::Code;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Yaml,
    Json,
}

/// A configuration file and its text.
pub(super) struct Source {
    file: String,
    text: String,
    format: Format,
}

/// Something wrong at a place of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) path: Path,
    /// Whether the key is meant, where the value stands apart from it.
    pub(super) on_key: bool,
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) fix: String,
}

impl Problem {
    pub(super) fn new(path: Path, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { path, on_key: false, code: Code::ConfigurationInvalid, message: message.into(), fix: fix.into() }
    }
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// It is absent, unreadable, too large, or not text.
    pub(super) fn read(file: &std::path::Path) -> Result<Self, ConfigError> {
        let name = file.display().to_string();
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => ConfigError::of_file(
                &name,
                "there is no such file",
                "write one there, or name another under `config`; with `image` and `to` none is needed",
            ),
            _ => ConfigError::of_file(
                &name,
                format!("cannot be read: {error}"),
                "name a file under `config` that this user may read",
            ),
        };
        let mut bytes = Vec::new();
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(too_large(&name));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| ConfigError::of_file(&name, "the file is not UTF-8 text", "save it as UTF-8"))?;
        Ok(Self::new(name, text))
    }

    /// A text under a name; JSON where the name or the text says so.
    pub(super) fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        let (file, mut text) = (file.into(), text.into());
        if let Some(rest) = text.strip_prefix('\u{feff}') {
            text = rest.to_owned();
        }
        let lower = file.to_ascii_lowercase();
        let named_yaml = lower.ends_with(".yml") || lower.ends_with(".yaml");
        let json = lower.ends_with(".json") || (!named_yaml && text.trim_start().starts_with('{'));
        Self { file, text, format: if json { Format::Json } else { Format::Yaml } }
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text as a tree.
    ///
    /// # Errors
    /// It is empty, too large, not YAML or JSON, or something that is refused in both.
    pub(super) fn tree(&self) -> Result<Tree, ConfigError> {
        if self.text.len() as u64 > MAX_BYTES {
            return Err(too_large(&self.file));
        }
        let progress = Progress::default();
        let tree = match self.format {
            Format::Json => self.json_tree(&progress),
            Format::Yaml => self.yaml_tree(&progress),
        }?;
        match tree {
            Tree::Map(_) => Ok(tree),
            Tree::Null => Err(self.whole("the file is empty", "begin with `version: 1`")),
            _ => Err(self.whole("the file is not a mapping", "begin with `version: 1`")),
        }
    }

    fn json_tree(&self, progress: &Progress) -> Result<Tree, ConfigError> {
        if self.text.trim().is_empty() {
            return Ok(Tree::Null);
        }
        let mut json = serde_json::Deserializer::from_str(&self.text);
        tree::read(&mut json, progress).and_then(|tree| json.end().map(|()| tree)).map_err(|error| {
            let position = (error.line(), error.column().max(1));
            if let Some(refusal) = progress.refusal() {
                return self.error(&progress.path(), Some(position), refusal.message, refusal.fix);
            }
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or_default();
            self.error(
                &progress.path(),
                Some(position),
                format!("is not valid JSON: {said}"),
                "correct the syntax there",
            )
        })
    }

    fn yaml_tree(&self, progress: &Progress) -> Result<Tree, ConfigError> {
        let mut documents = serde_yaml::Deserializer::from_str(&self.text);
        let Some(document) = documents.next() else { return Ok(Tree::Null) };
        let tree = tree::read(document, progress).map_err(|error| self.yaml_error(progress, &error))?;
        if documents.next().is_some() {
            return Err(self.whole("the file holds more than one document", "keep one, without `---` between"));
        }
        Ok(tree)
    }

    fn yaml_error(&self, progress: &Progress, error: &serde_yaml::Error) -> ConfigError {
        let position = error.location().map(|at| (at.line(), at.column()));
        if let Some(refusal) = progress.refusal() {
            return self.error(&progress.path(), position, refusal.message, refusal.fix);
        }
        let said = error.to_string();
        if said.contains("repetition limit") {
            return self.whole("its aliases unfold without end", "write the values out, or use fewer aliases");
        }
        if said.contains("recursion limit") {
            return self.error(&Path::default(), position, "is nested too deeply", "write it flatter");
        }
        let line = position.and_then(|(line, _)| self.text.lines().nth(line.saturating_sub(1))).unwrap_or_default();
        if line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t') {
            return self.error(&Path::default(), position, "a tab is used for indentation", "indent with spaces");
        }
        if said.contains(tree::TEXT_KEY) {
            let fix = "write text as the key; a template needs quotes: `\"{{ digest }}\"`";
            return self.error(&progress.path(), position, "has a mapping or a list as a key", fix);
        }
        // What the parser says begins with a path of its own and holds the position a second time.
        let said = position
            .map_or(said.clone(), |(line, column)| said.replacen(&format!(" at line {line} column {column}"), "", 1));
        let said = said.rsplit_once(": ").map_or(said.as_str(), |(_, said)| said);
        let said = said.split(", while").next().unwrap_or_default();
        let fix = "correct the syntax there; text with `: `, ` #`, `{{` or `*` at its beginning needs quotes";
        self.error(&Path::default(), position, format!("is not valid YAML: {}", shortened(said)), fix)
    }

    /// An error about the text as a whole.
    fn whole(&self, message: &str, fix: &str) -> ConfigError {
        self.error(&Path::default(), None, message, fix)
    }

    fn error(
        &self,
        path: &Path,
        position: Option<(usize, usize)>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> ConfigError {
        let mut error = ConfigError::of_file(&self.file, message, fix);
        let (line, column) = position.unwrap_or((1, 1));
        // A file of 1 MiB has fewer lines and columns than fit.
        (error.line, error.column) = (u32::try_from(line).ok(), u32::try_from(column).ok());
        error.path = path.to_string();
        error
    }

    /// A problem with its place.
    pub(super) fn locate(&self, problem: Problem) -> ConfigError {
        let position = self.position(&problem.path, problem.on_key);
        let mut error = self.error(&problem.path, position, problem.message, problem.fix);
        error.code = problem.code;
        error
    }

    /// The line and column of what was written at `path`, or of the nearest thing around it.
    ///
    /// The parser keeps no positions, so the text is read again by something that fails at the place (the place of an
    /// error is what the parser does tell). JSON is read as YAML for this, which it is but for rare escapes.
    fn position(&self, path: &Path, on_key: bool) -> Option<(usize, usize)> {
        if path.is_root() {
            return None;
        }
        let key = on_key && matches!(path.segments().last(), Some(Segment::Key(_)));
        let found = Cell::new(false);
        let finder = || Finder { path: path.segments(), key, found: &found };
        let yaml =
            serde_yaml::Deserializer::from_str(&self.text).next().and_then(|yaml| finder().deserialize(yaml).err());
        if found.get() {
            return yaml.and_then(|error| error.location()).map(|at| (at.line(), at.column()));
        }
        if self.format == Format::Json {
            let json = finder().deserialize(&mut serde_json::Deserializer::from_str(&self.text)).err();
            if found.get() {
                return json.map(|error| (error.line(), error.column().max(1)));
            }
        }
        self.position(&path.parent(), true)
    }
}

fn too_large(file: &str) -> ConfigError {
    ConfigError::of_file(
        file,
        "the file is larger than 1 MiB",
        "check that `config` names the configuration; a configuration this long cannot be reviewed",
    )
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a:\n  b: [1, {c: x}]\n  d:\n    e: y\n";

    fn position(source: &Source, path: &Path, on_key: bool) -> String {
        let (line, column) = source.position(path, on_key).unwrap_or_default();
        format!("{line}:{column}")
    }

    #[test]
    fn finds_values_and_keys() {
        let yaml = Source::new("x.yml", TEXT);
        let json = Source::new("x.json", "{\"a\":\n  {\"b\": [1, {\"c\": \"x\\ud83d\\ude00\"}],\n  \"d\": 1}}");
        let item = Path::default().keys(["a", "b"]).index(1).key("c");
        assert_eq!(position(&yaml, &item, false), "2:14");
        assert_eq!(position(&yaml, &item, true), "2:11");
        assert_eq!(position(&yaml, &Path::default().keys(["a", "d"]), true), "3:3");
        // What was not written is shown where it would have to be.
        assert_eq!(position(&yaml, &Path::default().keys(["a", "d", "missing"]), false), "3:3");
        // The surrogate pair is no YAML: the JSON parser tells, by the end of the value.
        assert_eq!(position(&json, &item, false), "2:33");
        assert_eq!(position(&json, &Path::default().keys(["a", "b"]), true), "2:4");
    }
}
