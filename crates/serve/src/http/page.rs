//! `/`: one page that says what is here and how far it is. Rendered anew at each look; no script, no file beside it.

use super::{Shared, guard::Caller, metrics};
use axum::{
    Extension,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use regauge_views::catalog::Kind;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}\
    td.n{font-variant-numeric:tabular-nums}:root{color-scheme:light dark}.bad{color:#c33}";
/// The page may load nothing and run nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

pub(super) async fn page(State(door): State<Shared>, Extension(caller): Extension<Caller>) -> Response {
    let instance = &door.instance;
    let durable = instance.log().durable().0;
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5><title>regauge</title>\
         <style>{STYLE}</style><h1>regauge</h1><p>{durable} commits, {} open sessions. This page looks again every 5 s; \
         <a href=/metrics>/metrics</a> has more figures, <a href=/openapi.yaml>/openapi.yaml</a> says what else is here.</p>",
        instance.sessions()
    );
    out += "<h2>Materialized views</h2><table><tr><th>view<th>version<th>state<th>epoch<th>behind, commits<th>error</tr>";
    for v in metrics::versions(instance, &caller) {
        let epoch = v.epoch.map_or("-".to_owned(), |e| e.to_string());
        let behind = v.epoch.map_or("-".to_owned(), |e| durable.saturating_sub(e).to_string());
        let error = v.error.as_deref().map(escape).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "<tr><td>{}<td class=n>{}<td>{}<td class=n>{epoch}<td class=n>{behind}<td class=bad>{error}</tr>",
            escape(&v.view),
            v.version,
            escape(&v.state)
        );
    }
    out += "</table><h2>Tables, streams and plain views</h2><table><tr><th>name<th>kind<th>columns</tr>";
    let (_, catalog) = instance.shown_to(&caller.0);
    for relation in catalog.relations().filter(|r| !matches!(r.kind, Kind::Materialized { .. })) {
        let columns: Vec<String> = relation.columns.iter().map(|c| escape(&c.name)).collect();
        let (name, kind) = (escape(&relation.name.to_string()), relation.kind_name());
        let _ = write!(out, "<tr><td>{name}<td>{kind}<td>{}</tr>", columns.join(", "));
    }
    out += "</table></html>\n";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, out).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) async fn openapi() -> Response {
    const TEXT: &str = include_str!("../../../../docs/openapi.yaml");
    ([(header::CONTENT_TYPE, "application/yaml")], TEXT).into_response()
}
