//! Channels: what every marketplace is like, over real HTTP to its fake; what channels sell; and what they show.

mod backlog;
mod cafe24;
mod care;
mod coupang;
mod desk;
mod elevenst;
mod fake;
mod flow;
mod history;
mod import;
mod mall;
mod pace;
mod shop;
mod smartstore;
mod trouble;
