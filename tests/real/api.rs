//! Plain requests to the API server, with `serde_json::Value` as the object type.

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::path::Path;

/// One user's access to the API server.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
}

impl Api {
    /// Access as the user of one context of a kubeconfig file.
    pub async fn from_kubeconfig(file: &Path, context: &str) -> Result<Self> {
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await?;
        Ok(Self { client: kube::Client::try_from(config)? })
    }

    /// The client behind it, for watches and port-forwards.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// A request whose answer is text.
    pub async fn text(&self, path: &str) -> Result<String> {
        Ok(self.client.request_text(http::Request::get(path).body(Vec::new())?).await?)
    }

    /// GET; `None` is a 404.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        let request = http::Request::get(path).body(Vec::new())?;
        match self.client.request::<Value>(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("GET {path}")),
        }
    }

    /// The items of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.get(path).await?.with_context(|| format!("{path} is not there"))?;
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// A request with a body.
    pub async fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Result<Value> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content_type)
            .body(serde_json::to_vec(body)?)?;
        self.client.request(request).await.with_context(|| format!("{method} {path}"))
    }

    /// POST with a field manager: the object is created by an Update operation of that manager.
    pub async fn create(&self, collection: &str, manager: &str, body: &Value) -> Result<Value> {
        self.send("POST", &format!("{collection}?fieldManager={manager}"), "application/json", body).await
    }

    /// A merge patch with a field manager.
    pub async fn merge(&self, path: &str, manager: &str, body: &Value) -> Result<Value> {
        self.send("PATCH", &format!("{path}?fieldManager={manager}"), "application/merge-patch+json", body)
            .await
    }
}
