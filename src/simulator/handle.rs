//! The handle that tests and commands hold of a vendor's running stand-in: written once, since it differs in names only.

/// `handle!(VendorSimulator, vendor: Vendor, VendorWorld, VendorApp)` makes the handle `VendorSimulator` of a stand-in
/// that is made with `Vendor::new(VendorWorld)` and has `shared`, `accounts().put_app(VendorApp)` and `message_ids`. It is
/// a [`Standin`](super::Standin) and [`Running`](super::Running), and its world is made from
/// [`Basics`](super::Basics); what only this vendor has goes through its field `vendor`, in an `impl` of its own.
macro_rules! handle {
    ($handle:ident, $field:ident: $vendor:ty, $world:ty, $app:ty) => {
        /// The handle of a running stand-in. Clones share it; it ends with [`stop`](crate::simulator::Standin::stop) or
        /// with the last clone.
        #[derive(Clone)]
        pub struct $handle {
            standin: $crate::simulator::Standin,
            $field: ::std::sync::Arc<$vendor>,
        }

        impl ::std::ops::Deref for $handle {
            type Target = $crate::simulator::Standin;

            fn deref(&self) -> &Self::Target {
                &self.standin
            }
        }

        impl $handle {
            /// Starts on a loopback address; port 0 takes any free port.
            ///
            /// # Errors
            /// [`StartError`](crate::simulator::StartError): not a loopback address, or the port is taken.
            pub async fn start(
                addr: ::std::net::SocketAddr,
                world: $world,
            ) -> Result<Self, $crate::simulator::StartError> {
                let $field = ::std::sync::Arc::new(<$vendor>::new(world));
                let standin = $crate::simulator::Standin::start(addr, $field.clone(), &$field.shared).await?;
                Ok(Self { standin, $field })
            }

            /// Makes an app known with its limits, in place of one of the same name to the vendor.
            pub fn put_app(&self, app: $app) {
                self.$field.accounts().put_app(app);
            }

            /// Whether this stand-in gave out this id for a message it accepted.
            pub fn has_message_id(&self, id: &str) -> bool {
                self.$field.message_ids.has_issued(id)
            }
        }

        #[::async_trait::async_trait]
        impl $crate::simulator::Running for $handle {
            fn controls(&self) -> &$crate::simulator::Controls {
                &self.standin
            }

            fn url(&self) -> String {
                self.standin.url()
            }

            fn has_message_id(&self, id: &str) -> bool {
                self.$field.message_ids.has_issued(id)
            }

            async fn stop(&self) {
                self.standin.stop().await;
            }
        }

        $crate::simulator::fleet::from_basics!($world);
    };
}
pub(super) use handle;

/// `access_tokens!(VendorSimulator, vendor)` adds the controls of a stand-in whose field `access_tokens` has those it gave
/// out.
macro_rules! access_tokens {
    ($handle:ident, $field:ident) => {
        impl $handle {
            /// All access tokens given out so far are over their time.
            pub fn expire_access_tokens(&self) {
                self.$field.access_tokens.expire_all();
            }

            /// All access tokens given out so far are unknown.
            pub fn revoke_access_tokens(&self) {
                self.$field.access_tokens.revoke_all();
            }

            /// How many access tokens were given out since the start.
            pub fn access_tokens_granted(&self) -> u64 {
                self.$field.access_tokens.granted()
            }
        }
    };
}
pub(super) use access_tokens;
