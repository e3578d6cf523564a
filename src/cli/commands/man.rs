//! `shifter man`: the manual page, one page for all commands.

use crate::cli::{Cli, output};
use crate::exit::Exit;
use clap::CommandFactory;
use clap_mangen::Man;
use std::io;

/// Writes the page; read it with `shifter man | man -l -`.
pub fn run() -> Exit {
    match page() {
        Ok(page) => output::bytes(page.as_bytes()),
        Err(error) => {
            output::narrate(&format!("shifter: cannot make the manual page: {error}"));
            Exit::Internal
        }
    }
}

fn page() -> io::Result<String> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        page.push_str(&section(sub)?);
    }
    page.push_str(&codes());
    Ok(page)
}

/// One command as a section, its own sections one level down.
fn section(sub: &clap::Command) -> io::Result<String> {
    let name = sub.get_name().to_owned();
    // Options of every command are described once, at the top.
    let sub = sub.clone().mut_args(|arg| {
        let hide = arg.is_global_set();
        arg.hide(hide)
    });
    let man = Man::new(sub);
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace("\n.SH ", "\n.SS ");
    let text = text
        .strip_prefix(".SH ")
        .map_or(text.clone(), |rest| format!(".SS {rest}"));
    Ok(format!(".SH \"SHIFTER {}\"\n{text}", name.to_uppercase()))
}

fn codes() -> String {
    let mut text = ".SH \"EXIT STATUS\"\n".to_owned();
    for exit in Exit::ALL {
        text.push_str(&format!(
            ".TP\n\\fB{}\\fR\n{}\n",
            exit.code(),
            exit.meaning()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_every_code() {
        let page = page().unwrap();
        for sub in Cli::command().get_subcommands() {
            let heading = format!(".SH \"SHIFTER {}\"", sub.get_name().to_uppercase());
            assert!(page.contains(&heading), "{heading}");
        }
        for exit in Exit::ALL {
            assert!(page.contains(exit.meaning()));
        }
        let first = page
            .lines()
            .find(|line| !line.starts_with(".ie") && !line.starts_with(".el"))
            .unwrap();
        assert!(first.starts_with(".TH"), "{first}");
    }
}
