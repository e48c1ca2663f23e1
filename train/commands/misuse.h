#pragma once
#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace scrawl {

/// Whether an argument stands where a command should, so that help on the commands would hide the mistake.
bool names_unknown_command(const CLI::App& app);

/// One line on what is wrong with a command line that could not be parsed: what is unknown or missing, where,
/// and the nearest that there is.
std::string misuse(const CLI::App& app, const CLI::ParseError& error);

}  // namespace scrawl
