//! Errors of a configuration: where, what, and what to write instead.

use std::fmt;

use crate::promotion::fault::{Code, Fault};

/// One thing that is wrong in a configuration.
///
/// Shown as `file:line:column: path: message`, and the fix on a line of its own. It never quotes what stands in a
/// secret's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What kind of fault it is for the run.
    pub code: Code,
    /// The file, as it was named; empty where there is none.
    pub file: String,
    /// The line, from 1, where the place is known.
    pub line: Option<u32>,
    /// The column in characters, from 1, where the place is known.
    pub column: Option<u32>,
    /// The path inside the configuration, e.g. `environments.production.gates.soak`; empty at the top.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl ConfigError {
    /// An error about the file as a whole.
    pub(super) fn of_file(file: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code: Code::ConfigurationInvalid,
            file: file.to_owned(),
            line: None,
            column: None,
            path: String::new(),
            message: message.into(),
            fix: fix.into(),
        }
    }

    /// `file:line:column: path: message`, without the fix.
    fn headline(&self) -> String {
        let mut parts = Vec::with_capacity(3);
        if !self.file.is_empty() {
            let mut place = self.file.clone();
            for number in [self.line, self.column].into_iter().flatten() {
                place.push_str(&format!(":{number}"));
            }
            parts.push(place);
        }
        if !self.path.is_empty() {
            parts.push(self.path.clone());
        }
        parts.push(self.message.clone());
        parts.join(": ")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  fix: {}", self.headline(), self.fix)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::new(error.code, error.headline()).with_fix(error.fix)
    }
}

/// All that is wrong in a configuration, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    unshown: usize,
}

impl ConfigErrors {
    /// The errors, unless there are none; `unshown` more were left out.
    ///
    /// # Errors
    /// The errors, where there are some.
    pub fn gather(errors: Vec<ConfigError>, unshown: usize) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self { errors, unshown }) }
    }

    /// The errors, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self { errors: vec![error], unshown: 0 }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.errors.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        if self.unshown > 0 {
            write!(f, "\nand {} more of them", self.unshown)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for Fault {
    fn from(errors: ConfigErrors) -> Self {
        match errors.errors.as_slice() {
            [error] => error.clone().into(),
            all => {
                let code = all.first().map_or(Code::ConfigurationInvalid, |error| error.code);
                let one_kind = all.iter().all(|error| error.code == code);
                Self::new(if one_kind { code } else { Code::ConfigurationInvalid }, errors.to_string())
            }
        }
    }
}
