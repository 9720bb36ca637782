//! The page's style, script and icon, served from the program itself.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::platform::Shared;

/// A file that is part of the program.
pub struct Asset {
    route: &'static str,
    kind: &'static str,
    content: &'static str,
}

pub const STYLE: Asset = Asset {
    route: "/settings/page.css",
    kind: "text/css; charset=utf-8",
    content: include_str!("page.css"),
};
pub const SCRIPT: Asset = Asset {
    route: "/settings/page.js",
    kind: "text/javascript; charset=utf-8",
    content: include_str!("page.js"),
};
pub const ICON: Asset = Asset {
    route: "/settings/icon.svg",
    kind: "image/svg+xml",
    content: include_str!("icon.svg"),
};

impl Asset {
    /// Its address, which changes with its content: so a browser may keep it for good.
    pub fn path(&self) -> String {
        let digest = Sha256::digest(self.content);
        format!("{}?{}", self.route, URL_SAFE_NO_PAD.encode(&digest[..6]))
    }
}

pub fn routes() -> Router<Shared> {
    [STYLE, SCRIPT, ICON]
        .into_iter()
        .fold(Router::new(), |router, asset| {
            let headers = [
                (CONTENT_TYPE, asset.kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            router.route(asset.route, get(async move || (headers, asset.content)))
        })
}
