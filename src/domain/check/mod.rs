//! What is expected of a database and its replicas.
