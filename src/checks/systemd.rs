//! Asks systemd whether a unit is active, over the system bus: any user may, and no program runs.

use zbus::connection::Builder;
use zbus::{Connection, Error, OwnedObjectPath, Variant};

use super::Look;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// Told of a unit that works; the last two while it reads its configuration again
/// (org.freedesktop.systemd1(5), `ActiveState`; `systemctl is-active` takes them alike).
const ACTIVE: [&str; 3] = ["active", "reloading", "refreshing"];

/// Where looks ask. The connection is kept from one look to the next, and dropped with a look that
/// failed or was cancelled: the bus may have been started again.
pub(super) struct Manager {
    /// Another bus than the system's, for tests.
    address: Option<String>,
    connection: Option<Connection>,
}

impl Manager {
    pub(super) fn of_system() -> Self {
        Self { address: None, connection: None }
    }

    pub(super) async fn look(&mut self, unit: &str) -> Look {
        let asked = self.ask(unit).await;
        match asked.map_err(|error| format!("systemd cannot be asked: {error}"))? {
            None => Err("not loaded: it is inactive, or there is no such unit".to_owned()),
            Some(state) if ACTIVE.contains(&state.as_str()) => Ok(state),
            Some(state) => Err(state),
        }
    }

    async fn ask(&mut self, unit: &str) -> zbus::Result<Option<String>> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.address
                    .as_deref()
                    .map_or_else(Builder::system, Builder::address)
                    .build()
                    .await?
            }
        };
        let state = active_state(&connection, unit).await?;
        self.connection = Some(connection);
        Ok(state)
    }
}

/// The unit's `ActiveState`, or nothing if systemd has not loaded it.
async fn active_state(connection: &Connection, unit: &str) -> zbus::Result<Option<String>> {
    const PATH: &str = "/org/freedesktop/systemd1";
    let found = connection.call_method(Some(SYSTEMD), PATH, Some(MANAGER), "GetUnit", &unit).await;
    if let Err(Error::MethodError(name, ..)) = &found
        && name.as_str() == NO_SUCH_UNIT
    {
        return Ok(None);
    }
    let path: OwnedObjectPath = found?.body().deserialize()?;
    let wanted = (UNIT, "ActiveState");
    let reply =
        connection.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &wanted).await?;
    let body = reply.body();
    let value: Variant<'_> = body.deserialize()?;
    Ok(Some(String::try_from(value)?))
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
mod tests;
