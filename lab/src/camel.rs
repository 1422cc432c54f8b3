//! camel
