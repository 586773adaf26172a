//! Expressions, evaluated as GitHub does.
//!
//! zizmor's crate parses them and knows the functions and the loose comparisons; contexts, `&&` and `||`, filters, status
//! functions and the text around `${{ }}` are here. Follows "Evaluate expressions in workflows and actions" in GitHub's
//! documentation. Where GitHub silently takes a name that nothing has for nothing, [`Scope`] may ask for an error.

use std::borrow::Cow;
use std::collections::BTreeMap;

use github_actions_expressions::call::{Call, Function};
use github_actions_expressions::literal::Literal;
use github_actions_expressions::op::{BinExpr, BinOp, UnOp};
use github_actions_expressions::{Evaluation, Expr, Origin, SpannedExpr};
use serde_json::{Map, Number, Value};

/// How what came before has ended, for the status functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// `success()`.
    pub success: bool,
    /// `failure()`.
    pub failure: bool,
    /// `cancelled()`.
    pub cancelled: bool,
}

/// What an expression may see.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The contexts by their names.
    pub contexts: BTreeMap<String, Value>,
    /// Contexts in which a name that is not there is an error: `needs`, `inputs` and others whose names are declared.
    pub strict: Vec<&'static str>,
    /// How what came before has ended; none where the status functions may not be called.
    pub status: Option<Status>,
    /// The root for `hashFiles`; none where it may not be called.
    pub files: Option<std::path::PathBuf>,
}

/// Evaluates what stands between `${{` and `}}`.
///
/// # Errors
/// What is wrong with the expression, or what it names and is not there.
pub fn evaluate(expression: &str, scope: &Scope) -> Result<Value, String> {
    let parsed = Expr::parse(expression.trim()).map_err(|error| format!("`{expression}`: {error}"))?;
    value(&parsed, scope).map_err(|error| format!("`{expression}`: {error}"))
}

/// Evaluates a text with `${{ }}` in it: to the value itself where the text is nothing else, to text otherwise.
///
/// # Errors
/// As [`evaluate`]; and where a `${{` is not closed.
pub fn interpolate(text: &str, scope: &Scope) -> Result<Value, String> {
    let parts = split(text)?;
    if let [Part::Expression(expression)] = parts.as_slice() {
        return evaluate(expression, scope);
    }
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Expression(expression) => out.push_str(&to_text(&evaluate(expression, scope)?)),
        }
    }
    Ok(Value::String(out))
}

/// Evaluates an `if`: the braces may be left out, and unless a status function is called, `success()` is asked too.
///
/// # Errors
/// As [`evaluate`].
pub fn condition(text: Option<&str>, scope: &Scope) -> Result<bool, String> {
    let success = scope.status.is_some_and(|status| status.success);
    let Some(text) = text else { return Ok(success) };
    let parts = split(text)?;
    let expression = match parts.as_slice() {
        [Part::Expression(expression)] => *expression,
        [Part::Text(expression)] => expression,
        [] => return Ok(success),
        // GitHub makes a text of it, and a text that is not empty is true.
        _ => return Err(format!("`{text}` is always true: it is more than one expression")),
    };
    let parsed = Expr::parse(expression.trim()).map_err(|error| format!("`{expression}`: {error}"))?;
    if !success && !calls_status(&parsed) {
        return Ok(false);
    }
    Ok(truth(&value(&parsed, scope).map_err(|error| format!("`{expression}`: {error}"))?))
}

/// The texts of all expressions in a text.
///
/// # Errors
/// Where a `${{` is not closed.
pub fn expressions(text: &str) -> Result<Vec<&str>, String> {
    let parts = split(text)?;
    Ok(parts.into_iter().filter_map(|part| if let Part::Expression(text) = part { Some(text) } else { None }).collect())
}

/// The names of the contexts and functions that an expression mentions; functions end in `()`.
///
/// # Errors
/// Where it cannot be parsed.
pub fn mentions(expression: &str) -> Result<Vec<String>, String> {
    let parsed = Expr::parse(expression.trim()).map_err(|error| format!("`{expression}`: {error}"))?;
    let mut found = Vec::new();
    walk(&parsed, &mut |expr| match expr {
        Expr::Context(context) => {
            if let Some(Expr::Identifier(name)) = context.parts.first().map(|part| &part.inner) {
                found.push(name.as_str().to_ascii_lowercase());
            }
        }
        Expr::Call(call) => found.push(format!("{:?}()", call.func).to_ascii_lowercase()),
        _ => {}
    });
    Ok(found)
}

/// How GitHub writes a value into a text.
#[must_use]
pub fn to_text(value: &Value) -> String {
    evaluation(value).sema().to_string()
}

/// What GitHub takes a value for where it needs a yes or no.
#[must_use]
pub fn truth(value: &Value) -> bool {
    evaluation(value).as_boolean()
}

enum Part<'a> {
    Text(&'a str),
    Expression(&'a str),
}

/// Takes a text apart; `}}` inside a string of an expression does not end it.
fn split(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${{") {
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        let inner = &rest[start + 3..];
        let mut quoted = false;
        let end = inner.char_indices().find(|&(at, character)| {
            if character == '\'' {
                quoted = !quoted;
            }
            !quoted && inner[at..].starts_with("}}")
        });
        let Some((end, _)) = end else { return Err(format!("`{text}` has a `${{{{` that is not closed")) };
        parts.push(Part::Expression(&inner[..end]));
        rest = &inner[end + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn walk<'a>(expr: &'a Expr<'a>, visit: &mut impl FnMut(&'a Expr<'a>)) {
    visit(expr);
    match expr {
        Expr::Call(call) => call.args.iter().for_each(|one| walk(one, visit)),
        Expr::Index(inner) => walk(inner, visit),
        Expr::Context(context) => context.parts.iter().for_each(|one| walk(one, visit)),
        Expr::BinExpr(binary) => {
            walk(&binary.lhs, visit);
            walk(&binary.rhs, visit);
        }
        Expr::UnExpr { expr, .. } => walk(expr, visit),
        Expr::Literal(_) | Expr::Star | Expr::Identifier(_) => {}
    }
}

fn calls_status(expr: &Expr<'_>) -> bool {
    let mut found = false;
    walk(expr, &mut |one| {
        if let Expr::Call(call) = one {
            found |=
                matches!(call.func, Function::Success | Function::Failure | Function::Always | Function::Cancelled);
        }
    });
    found
}

fn value(expr: &Expr<'_>, scope: &Scope) -> Result<Value, String> {
    match expr {
        Expr::Literal(literal) => Ok(match literal {
            Literal::Number(number) => from_number(*number)?,
            Literal::String(text) => Value::String(text.to_string()),
            Literal::Boolean(flag) => Value::Bool(*flag),
            Literal::Null => Value::Null,
        }),
        Expr::Star => Err("`*` outside of an index".to_owned()),
        Expr::Call(call) => called(call, scope),
        Expr::Identifier(name) => context(name.as_str(), scope),
        Expr::Index(inner) => value(inner, scope),
        Expr::Context(context) => path(&context.parts, scope),
        Expr::BinExpr(binary) => operated(binary, scope),
        Expr::UnExpr { op: UnOp::Not, expr } => Ok(Value::Bool(!truth(&value(expr, scope)?))),
    }
}

fn operated(binary: &BinExpr<'_>, scope: &Scope) -> Result<Value, String> {
    let left = value(&binary.lhs, scope)?;
    // The value of `&&` and `||` is that of one of their sides, and the other is not always looked at.
    match binary.op {
        BinOp::And if !truth(&left) => return Ok(left),
        BinOp::Or if truth(&left) => return Ok(left),
        BinOp::And | BinOp::Or => return value(&binary.rhs, scope),
        _ => {}
    }
    let right = value(&binary.rhs, scope)?;
    let (left, right) = (evaluation(&left), evaluation(&right));
    let (left, right) = (left.sema(), right.sema());
    Ok(Value::Bool(match binary.op {
        BinOp::Eq => left == right,
        BinOp::Neq => left != right,
        BinOp::Gt => left > right,
        BinOp::Ge => left >= right,
        BinOp::Lt => left < right,
        BinOp::Le => left <= right,
        BinOp::And | BinOp::Or => unreachable!("answered above"),
    }))
}

fn context(name: &str, scope: &Scope) -> Result<Value, String> {
    let found = scope.contexts.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.clone()).ok_or_else(|| format!("the context `{name}` is not available here"))
}

/// What `a.b[c].*.d` leads to. After a `*`, each next name is looked up in every element, and what has none is left out.
fn path(parts: &[SpannedExpr<'_>], scope: &Scope) -> Result<Value, String> {
    let (first, rest) = parts.split_first().ok_or("an empty context")?;
    let mut current = value(first, scope)?;
    let strict = match &first.inner {
        Expr::Identifier(name) => scope.strict.iter().any(|one| one.eq_ignore_ascii_case(name.as_str())),
        _ => false,
    };
    let mut filtered = false;
    for part in rest {
        let (is_star, key) = match &part.inner {
            Expr::Star => (true, Value::Null),
            Expr::Index(inner) if matches!(inner.inner, Expr::Star) => (true, Value::Null),
            Expr::Identifier(name) => (false, Value::String(name.as_str().to_owned())),
            other => (false, value(other, scope)?),
        };
        if is_star {
            let all = |value: Value| match value {
                Value::Array(items) => items,
                Value::Object(fields) => fields.into_iter().map(|(_, value)| value).collect(),
                _ => Vec::new(),
            };
            current = match current {
                Value::Array(items) if filtered => Value::Array(items.into_iter().flat_map(all).collect()),
                other => Value::Array(all(other)),
            };
            filtered = true;
        } else if filtered {
            let Value::Array(items) = current else { unreachable!("a filter gives an array") };
            current = Value::Array(items.iter().filter_map(|item| member(item, &key)).collect());
        } else {
            let found = member(&current, &key);
            if found.is_none() && strict {
                return Err(format!("nothing is called `{}` there", to_text(&key)));
            }
            current = found.unwrap_or(Value::Null);
        }
    }
    Ok(current)
}

fn member(value: &Value, key: &Value) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            let name = to_text(key);
            fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(&name)).map(|(_, value)| value.clone())
        }
        Value::Array(items) => {
            let number = evaluation(key).as_number();
            let at = if number >= 0.0 && number.is_finite() { number.floor() as usize } else { return None };
            items.get(at).cloned()
        }
        _ => None,
    }
}

fn called(call: &Call<'_>, scope: &Scope) -> Result<Value, String> {
    let status = || scope.status.ok_or_else(|| format!("{:?}() may not be called here", call.func));
    match call.func {
        Function::Success => return Ok(Value::Bool(status()?.success)),
        Function::Failure => return Ok(Value::Bool(status()?.failure)),
        Function::Cancelled => return Ok(Value::Bool(status()?.cancelled)),
        Function::Always => return status().map(|_| Value::Bool(true)),
        _ => {}
    }
    let arguments: Vec<Value> = call.args.iter().map(|one| value(one, scope)).collect::<Result<_, _>>()?;
    match call.func {
        Function::ToJSON => serde_json::to_string_pretty(&arguments[0]).map(Value::String).map_err(|e| e.to_string()),
        Function::FromJSON => {
            serde_json::from_str(&to_text(&arguments[0])).map_err(|error| format!("fromJSON: {error}"))
        }
        Function::HashFiles => {
            let root = scope.files.as_ref().ok_or("hashFiles() may not be called here")?;
            crate::files::hash(root, &arguments.iter().map(to_text).collect::<Vec<_>>()).map(Value::String)
        }
        func => {
            // The crate evaluates what is constant; a value that is no scalar is written as `fromJSON('…')`.
            let texts: Vec<Option<String>> =
                arguments.iter().map(|one| (one.is_array() || one.is_object()).then(|| one.to_string())).collect();
            let args = arguments.iter().zip(&texts).map(|(one, text)| constant(one, text.as_deref())).collect();
            let constant = Expr::Call(Call { func, args });
            let result = constant.consteval().ok_or_else(|| format!("{func:?}() does not take these"))?;
            result.try_into().map_err(|()| format!("{func:?}() gives what cannot be written down"))
        }
    }
}

fn spanned(inner: Expr<'_>) -> SpannedExpr<'_> {
    SpannedExpr { origin: Origin::new(0..0, ""), inner }
}

/// A value as an expression.
fn constant<'a>(value: &'a Value, json: Option<&'a str>) -> SpannedExpr<'a> {
    let literal = |literal| spanned(Expr::Literal(literal));
    match (value, json) {
        (_, Some(json)) => {
            let call = Call { func: Function::FromJSON, args: vec![literal(Literal::String(Cow::Borrowed(json)))] };
            spanned(Expr::Call(call))
        }
        (Value::String(text), None) => literal(Literal::String(Cow::Borrowed(text))),
        (Value::Bool(flag), None) => literal(Literal::Boolean(*flag)),
        (Value::Number(number), None) => literal(Literal::Number(number.as_f64().unwrap_or(f64::NAN))),
        _ => literal(Literal::Null),
    }
}

fn evaluation(value: &Value) -> Evaluation {
    match value {
        // Only whether it is one matters to comparisons and texts.
        Value::Array(_) => Evaluation::Array(Vec::new()),
        Value::Object(_) => Evaluation::Object(std::collections::HashMap::new()),
        Value::Null => Evaluation::Null,
        Value::Bool(flag) => Evaluation::Boolean(*flag),
        Value::Number(number) => Evaluation::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Evaluation::String(text.clone()),
    }
}

fn from_number(number: f64) -> Result<Value, String> {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return Ok(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number).ok_or_else(|| format!("{number} is not supported"))
}

/// An object of texts.
pub(crate) fn texts<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
    Value::Object(pairs.into_iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect::<Map<_, _>>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may give up")]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let contexts = json!({
            "github": {"ref": "refs/heads/main", "event_name": "push", "event": {"n": 1}},
            "inputs": {"dry-run": false, "environment": "Production", "count": 3, "empty": ""},
            "needs": {"build": {"result": "success", "outputs": {"digest": "sha256:ab"}}},
            "steps": {"a": {"outputs": {"x": "1"}, "outcome": "failure", "conclusion": "success"}},
            "env": {"NAME": "it's"},
            "list": [{"name": "one", "tags": ["a", "b"]}, {"name": "two", "tags": ["c"]}, {"other": 1}],
        });
        Scope {
            contexts: contexts.as_object().unwrap().clone().into_iter().collect(),
            strict: vec!["needs", "inputs"],
            status: Some(Status { success: true, failure: false, cancelled: false }),
            files: None,
        }
    }

    /// GitHub's documentation of expressions, "Literals", "Operators" and "Functions".
    #[test]
    fn values_are_as_documented() {
        let table = [
            ("null", json!(null)),
            ("0xff", json!(255)),
            ("-2.99e-2", json!(-0.0299)),
            ("'It''s open source!'", json!("It's open source!")),
            // Loose equality: different types become numbers, texts are equal in any case.
            ("'abc' == 'ABC'", json!(true)),
            ("0 == ''", json!(true)),
            ("null == 0", json!(true)),
            ("true == 1", json!(true)),
            ("'true' == true", json!(false)),
            ("'1' == 1", json!(true)),
            ("'x' == 0", json!(false)),
            ("fromJSON('[]') == ''", json!(false)),
            // `&&` and `||` give one of their sides.
            ("'a' && 'b'", json!("b")),
            ("'' || 'b'", json!("b")),
            ("inputs.empty || github.ref", json!("refs/heads/main")),
            ("github.ref == 'refs/heads/main' && 'prod' || 'dev'", json!("prod")),
            ("!inputs.dry-run", json!(true)),
            ("!'false'", json!(false)),
            // Names in any case, by point or bracket; what is not there is null.
            ("GITHUB.Event_Name", json!("push")),
            ("github['event_name']", json!("push")),
            ("github.event.nothing.at.all", json!(null)),
            ("list[0].name", json!("one")),
            ("list[9]", json!(null)),
            // Filters.
            ("list.*.name", json!(["one", "two"])),
            ("list.*.tags.*", json!(["a", "b", "c"])),
            ("join(list.*.name, '+')", json!("one+two")),
            ("join(list.*.name)", json!("one,two")),
            // Functions.
            ("contains('Hello world', 'LLO')", json!(true)),
            ("contains(list.*.name, 'two')", json!(true)),
            ("contains(fromJSON('[\"a\",\"b\"]'), 'c')", json!(false)),
            ("startsWith(github.ref, 'refs/heads/')", json!(true)),
            ("endsWith('x.YML', '.yml')", json!(true)),
            ("format('{{Hello {0} {1}!}}', env.NAME, 2)", json!("{Hello it's 2!}")),
            ("fromJSON('{\"a\": [1]}').a[0]", json!(1)),
            ("fromJSON(needs.build.outputs.digest == 'sha256:ab') && 'yes'", json!("yes")),
            ("inputs.count > 2 && inputs.count <= 3", json!(true)),
            ("success() && !failure() && !cancelled()", json!(true)),
            ("case(inputs.count == 3, 'three', 'other')", json!("three")),
        ];
        for (expression, wanted) in table {
            assert_eq!(evaluate(expression, &scope()), Ok(wanted), "{expression}");
        }
    }

    #[test]
    fn texts_are_put_together() {
        let table = [
            ("a-${{ inputs.count }}-${{ 'b}}' }}", json!("a-3-b}}")),
            ("${{ inputs.count }}", json!(3)),
            ("plain", json!("plain")),
            ("${{ github.event.nothing }}x", json!("x")),
            ("${{ list }}!", json!("Array!")),
            ("${{ true }} ${{ 1.5 }}", json!("true 1.5")),
        ];
        for (text, wanted) in table {
            assert_eq!(interpolate(text, &scope()), Ok(wanted), "{text}");
        }
        assert!(interpolate("${{ github.ref", &scope()).is_err());
    }

    #[test]
    fn conditions_ask_for_success_unless_they_ask_otherwise() {
        let ended =
            |success: bool| Scope { status: Some(Status { success, failure: !success, cancelled: false }), ..scope() };
        let table = [
            (None, true, false),
            (Some("github.event_name == 'push'"), true, false),
            (Some("${{ github.event_name == 'push' }}"), true, false),
            (Some("always()"), true, true),
            (Some("failure()"), false, true),
            (Some("!cancelled()"), true, true),
            (Some("always() && steps.a.outcome == 'failure'"), true, true),
            (Some("false"), false, false),
        ];
        for (text, good, bad) in table {
            assert_eq!(condition(text, &ended(true)), Ok(good), "{text:?} after success");
            assert_eq!(condition(text, &ended(false)), Ok(bad), "{text:?} after failure");
        }
        // Braces around a part make a text of it, which is true.
        assert!(condition(Some("${{ false }} && true"), &scope()).is_err());
    }

    #[test]
    fn what_is_not_there_is_said() {
        let table = [
            ("secrets.KEY", "the context `secrets` is not available here"),
            ("needs.tests.result", "nothing is called `tests` there"),
            ("needs.build.outputs.diggest", "nothing is called `diggest` there"),
            ("inputs.dryrun", "nothing is called `dryrun` there"),
            ("hashFiles('x')", "may not be called here"),
            ("fromJSON('{')", "fromJSON"),
            ("nothing()", "nothing()"),
            ("github.ref = 'x'", "github.ref"),
        ];
        for (expression, text) in table {
            let error = evaluate(expression, &scope()).unwrap_err();
            assert!(error.contains(text), "{expression}: {error}");
        }
        let without = Scope { status: None, ..scope() };
        assert!(evaluate("always()", &without).is_err());
    }

    #[test]
    fn mentions_are_found() {
        let found = mentions("contains(needs.a.outputs[inputs.b], 'x') || always()").unwrap();
        assert_eq!(found, ["contains()", "needs", "inputs", "always()"]);
    }
}
