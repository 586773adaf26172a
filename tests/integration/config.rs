//! The configuration file.

use tidegate::config::Configuration;

#[test]
fn smoke() {
    let text = include_str!("config/every-key.yml");
    std::fs::create_dir_all("schema").unwrap();
    std::fs::write("schema/tidegate.schema.json", serde_json::to_string_pretty(&tidegate::config::schema()).unwrap())
        .unwrap();
    match Configuration::parse("tidegate.yml", text) {
        Ok(_) => {}
        Err(e) => panic!("{e}"),
    }
}
