//! Channels: what every marketplace is like, over real HTTP to its fake; what channels sell; and what they show.

mod alerts;
mod approvals;
mod backlog;
mod cafe24;
mod care;
mod circuit;
mod coupang;
mod desk;
mod elevenst;
mod fake;
mod fence;
mod flow;
mod hint;
mod history;
mod import;
mod mall;
mod pace;
mod prices;
mod rush;
mod scarce;
mod shares;
mod shop;
mod smartstore;
mod sweep;
mod tokens;
mod trouble;
