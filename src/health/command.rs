//! A program that ends with 0.

use async_trait::async_trait;
use indexmap::IndexMap;
use secrecy::SecretString;

use super::{Good, Miss, Question, Values, unfilled};
use crate::config::{Template, Value};
use crate::process::{ProcessError, Program};
use crate::promotion::fault::{Code, Fault};

pub(super) struct Command {
    words: Vec<String>,
    variables: Vec<(String, SecretString)>,
}

impl Command {
    pub(super) fn fill(run: &[Template], env: &IndexMap<String, Value>, values: &Values) -> Result<Self, Fault> {
        let words: Vec<String> = run.iter().map(|word| values.render(word)).collect::<Result<_, _>>()?;
        if words.is_empty() {
            return Err(Fault::new(Code::ConfigurationInvalid, "a probe runs a program without a name"));
        }
        let fill = |(name, value): (&String, &Value)| {
            Ok((name.clone(), values.secrets.fill(value, &values.run).map_err(unfilled)?))
        };
        Ok(Self { words, variables: env.iter().map(fill).collect::<Result<_, Fault>>()? })
    }
}

#[async_trait]
impl Question for Command {
    async fn ask(&self, _: bool) -> Result<Good, Miss> {
        let mut program = Program::new(self.words[0].clone()).arguments(self.words[1..].iter().cloned());
        for (name, value) in &self.variables {
            program = program.variable(name.clone(), value.clone());
        }
        match program.run().await {
            Ok(ended) if ended.is_good() => Ok(Good::default()),
            Ok(ended) => Err(Miss::Failed(format!("{} {}", program.name(), ended.told()))),
            // The program itself is ours.
            Err(error @ ProcessError::TimedOut { .. }) => Err(Miss::Failed(error.to_string())),
            Err(error) => Err(Miss::Ours(error.to_string())),
        }
    }
}
