//! Where vendors are reached.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ConfigError;

/// What holds for all vendors, and a table for each. A text in a vendor's table is one of its hosts: scheme, host and port.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vendors {
    pub connect_timeout_ms: u64,
    pub call_timeout_ms: u64,
    pub idle_connections: usize,
    pub extra_ca_file: PathBuf,
    pub apns: ApnsSettings,
    pub xiaomi: XiaomiHosts,
    pub huawei: HuaweiHosts,
    pub meizu: PushHost,
    pub vivo: PushHost,
    pub oppo: OppoHosts,
}

/// One host per environment, and how many connections a credential opens to it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApnsSettings {
    pub production: String,
    pub sandbox: String,
    pub connections: usize,
    pub streams_per_connection: usize,
}

/// One host per region.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct XiaomiHosts {
    pub cn: String,
    pub ru: String,
    pub r#in: String,
    pub eu: String,
    pub sg: String,
}

/// Where messages go, and where access tokens come from.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HuaweiHosts {
    pub push: String,
    pub token: String,
}

/// The only host of a vendor.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PushHost {
    pub push: String,
}

/// One host per region.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OppoHosts {
    pub cn: String,
    pub intl: String,
}

impl Vendors {
    /// Every host with its key, such as `vendors.xiaomi.cn`.
    ///
    /// # Errors
    /// [`ConfigError::Vendors`]: the settings cannot be walked, such as with a path that is no text.
    pub fn hosts(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let mut tables = serde_json::to_value(self)?;
        let listed = |host: Host<'_>| (format!("vendors.{}.{}", host.vendor, host.name), host.url.clone());
        Ok(hosts_of(&mut tables).map(listed).collect())
    }

    /// The same with every host of a vendor at the address that `url_of` tells for the vendor's name; without one they
    /// stay.
    ///
    /// # Errors
    /// As [`hosts`](Self::hosts).
    pub fn redirected(&self, url_of: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut tables = serde_json::to_value(self)?;
        for Host { vendor, url, .. } in hosts_of(&mut tables) {
            if let Some(other) = url_of(vendor) {
                *url = other;
            }
        }
        Ok(serde_json::from_value(tables)?)
    }
}

struct Host<'a> {
    vendor: &'a str,
    name: &'a str,
    url: &'a mut String,
}

/// Walks the written settings, so that nobody has to list the hosts once more.
fn hosts_of(vendors: &mut Value) -> impl Iterator<Item = Host<'_>> {
    let tables = vendors.as_object_mut().into_iter().flat_map(Map::iter_mut);
    tables.flat_map(|(vendor, table)| {
        let members = table.as_object_mut().into_iter().flat_map(Map::iter_mut);
        members.filter_map(|(name, value)| match value {
            Value::String(url) => Some(Host { vendor, name, url }),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use crate::config::{DEFAULTS, Settings};

    #[test]
    fn every_text_in_the_table_of_a_vendor_is_a_host_and_nothing_else() {
        let hosts = Settings::read(None, HashMap::new()).unwrap().vendors.hosts().unwrap();
        let keys: HashSet<_> = hosts.iter().map(|(key, _)| key.as_str()).collect();
        for expected in ["vendors.apns.sandbox", "vendors.xiaomi.in", "vendors.huawei.token", "vendors.meizu.push"] {
            assert!(keys.contains(expected), "{keys:?}");
        }
        assert!(hosts.iter().all(|(_, url)| url.starts_with("https://")), "{hosts:?}");
        let written = DEFAULTS.lines().filter(|line| line.contains(" = \"https://")).count();
        assert_eq!((keys.len(), hosts.len()), (written, written), "{hosts:?}");
    }

    #[test]
    fn all_hosts_of_a_vendor_are_redirected_and_the_rest_stays() {
        let before = Settings::read(None, HashMap::new()).unwrap().vendors;
        let elsewhere = "http://127.0.0.1:1";
        let after = before.redirected(|vendor| (vendor == "apns").then(|| elsewhere.to_owned())).unwrap();
        assert_eq!((after.apns.production.as_str(), after.apns.sandbox.as_str()), (elsewhere, elsewhere));
        assert_eq!((after.xiaomi.cn, after.apns.connections), (before.xiaomi.cn, before.apns.connections));
    }
}
