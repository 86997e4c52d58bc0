//! The server itself, and several of it that are one to their clients.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trunkline::service::seal::{self, Sealer};
use trunkline::service::shared::{InMemory, InRedis, Shared};
use trunkline::service::store::{Store, StoreConfig, StoreUrl};
use trunkline::{BuiltServer, Server, TaskOptions};

use crate::changing::{self, Nodes, Touches};
use crate::telling::{self, SlowCalls};
use crate::{asking, prompts, resources, tasks, tools};

/// What all nodes have in common.
pub(crate) struct Common {
    /// What one node learns and the others must know: ended sessions, subscriptions, streams to take up again, tasks.
    shared: Arc<dyn Shared>,
    /// What sessions, cursors and the state of questions are sealed with: what one node hands out, every node opens.
    key: [u8; 32],
    page_size: usize,
    nodes: Nodes,
    touches: Touches,
    slow_calls: SlowCalls,
}

impl Common {
    /// Makes a key and everything else anew.
    pub(crate) fn new(page_size: usize) -> Result<Self, Box<dyn Error>> {
        let mut key = [0; 32];
        seal::random(&mut key)?;
        Ok(Self::with(Arc::new(InMemory::default()), Nodes::default(), key, page_size))
    }

    /// Has in common with other processes what nodes must know, in a store, sealed with a key that all of them have.
    pub(crate) fn in_store(page_size: usize, url: String) -> Result<Self, Box<dyn Error>> {
        let key = std::env::var("SEAL_KEY").ok().and_then(|text| read_key(&text));
        let key = key.ok_or("the variable `SEAL_KEY` must have 64 hexadecimal digits")?;
        let store = Store::open(StoreConfig::new(&StoreUrl::new(url))?.namespace("everything"))?;
        let shared: Arc<dyn Shared> = Arc::new(InRedis::open(store, Arc::new(Sealer::new(&[key])?)));
        Ok(Self::with(Arc::clone(&shared), Nodes::among(shared), key, page_size))
    }

    fn with(shared: Arc<dyn Shared>, nodes: Nodes, key: [u8; 32], page_size: usize) -> Self {
        Self { shared, key, page_size, nodes, touches: Touches::default(), slow_calls: SlowCalls::default() }
    }

    /// Makes one node.
    pub(crate) fn node(&self) -> Result<BuiltServer, Box<dyn Error>> {
        let server = offer(Server::new("everything", env!("CARGO_PKG_VERSION")))
            .title("Everything")
            .description("Has everything the protocol has, for tests of clients and servers.")
            .instructions(
                "Every tool, prompt and resource is a fixture of a test; none of them has an effect.",
            )
            .skills(Path::new(env!("CARGO_MANIFEST_DIR")).join("skills"))
            .tasks(TaskOptions::default().poll_interval(Duration::from_millis(200)))
            .page_size(self.page_size)
            .state(self.nodes.clone())
            .state(self.touches.clone())
            .state(self.slow_calls.clone())
            .seal_keys(&[self.key])
            .shared(Arc::clone(&self.shared))
            .build()?;
        self.nodes.join(server.handle());
        Ok(server)
    }
}

/// Reads a key of 32 bytes from its hexadecimal digits.
fn read_key(text: &str) -> Option<[u8; 32]> {
    let digits = text.bytes().map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit));
    let bytes: Vec<u8> = bytes.map(u8::try_from).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok().filter(|_| digits.len() == 64)
}

/// Adds what the server offers, in the order of its lists.
fn offer(server: Server) -> Server {
    let server = server
        .tool(tools::test_simple_text)
        .tool(tools::test_image_content)
        .tool(tools::test_audio_content)
        .tool(tools::test_embedded_resource)
        .tool(tools::test_multiple_content_types)
        .tool(tools::test_error_handling)
        .tool(telling::test_tool_with_progress)
        .tool(telling::test_tool_with_logging)
        .tool(asking::test_sampling)
        .tool(asking::test_elicitation)
        .tool(asking::test_elicitation_sep1034_defaults)
        .tool(asking::test_elicitation_sep1330_enums)
        .tool(telling::test_reconnection)
        .tool(tools::json_schema_2020_12_tool())
        .tool(asking::test_missing_capability)
        .tool(asking::test_streaming_elicitation)
        .tool(telling::test_logging_tool)
        .tool(changing::test_trigger_tool_change)
        .tool(changing::test_trigger_prompt_change)
        .tool(changing::test_trigger_resource_change)
        .tool(tools::test_custom_header)
        .tool(asking::test_input_required_result_elicitation)
        .tool(asking::test_input_required_result_sampling)
        .tool(asking::test_input_required_result_list_roots)
        .tool(asking::test_input_required_result_request_state)
        .tool(asking::test_input_required_result_multiple_inputs)
        .tool(asking::test_input_required_result_multi_round)
        .tool(asking::test_input_required_result_tampered_state)
        .tool(asking::test_input_required_result_capabilities)
        .tool(tasks::greet)
        .tool(tasks::slow_compute)
        .tool(tasks::failing_job)
        .tool(tasks::protocol_error_job)
        .tool(tasks::confirm_delete)
        .tool(tasks::multi_input)
        .tool(tasks::test_tool_with_task);
    // What the suite does not ask for, and other tests do.
    server
        .tool(tools::echo)
        .tool(tools::sum)
        .tool(tools::test_structured_content)
        .tool(tools::test_resource_link)
        .tool(asking::test_url_elicitation)
        .tool(telling::test_stream)
        .tool(telling::slow)
        .tool(telling::slow_calls)
        .tool(changing::touch)
        .prompt(prompts::test_simple_prompt)
        .prompt(prompts::test_prompt_with_arguments)
        .prompt(prompts::test_prompt_with_embedded_resource)
        .prompt(prompts::test_prompt_with_image)
        .prompt(asking::test_input_required_result_prompt)
        .resource(resources::test_static_text)
        .resource(resources::test_static_binary)
        .resource(changing::test_watched_resource)
        .resource(resources::test_template)
}

/// Serves `count` nodes on ports in a row until Ctrl-C or SIGTERM; the URLs go to stderr.
pub(crate) async fn serve(common: &Common, first: SocketAddr, count: u16) -> Result<(), Box<dyn Error>> {
    let stop = CancellationToken::new();
    let mut nodes = JoinSet::new();
    for number in 0..count {
        let mut address = first;
        // Port 0 stays what it is: a free port for each.
        address.set_port(if first.port() == 0 {
            0
        } else {
            first.port().checked_add(number).ok_or("no such port")?
        });
        let listener = TcpListener::bind(address).await?;
        eprintln!("http://{}/mcp", listener.local_addr()?);
        nodes.spawn(common.node()?.serve_listener(listener, stop.clone()));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut others = pin!(common.nodes.clone().follow());
    loop {
        tokio::select! {
            () = &mut others => {}
            _ = tokio::signal::ctrl_c() => stop.cancel(),
            _ = terminate.recv() => stop.cancel(),
            ended = nodes.join_next() => match ended {
                Some(served) => served??,
                None => return Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_can_be_built_as_often_as_there_are_nodes() {
        let common = Common::new(250).unwrap();
        assert!(common.node().is_ok() && common.node().is_ok());
    }
}
