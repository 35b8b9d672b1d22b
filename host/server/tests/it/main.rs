//! One binary for all tests that see the server from outside, so that it links once. Every test has its own addresses
//! (port 0) and folders; none needs a model, a GPU or a network.

mod admin;
mod catalog;
mod chat;
mod chat_server;
mod cli;
mod client;
mod config;
mod edge;
mod exposition;
mod house;
mod hub;
mod metrics;
mod models;
mod providers;
mod reload;
mod tenants;
mod tls;
mod transcribe;
mod voice;
