#include "train/commands/misuse.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>

#include "train/config/nearest.h"

namespace scrawl {
namespace {

/// As far as the commands of a line are known.
struct Command {
  const CLI::App* app;
  std::string name;  // "scrawl prepare tags"
};

Command last_command(const CLI::App& app) {
  Command command{&app, app.get_name()};
  while (!command.app->get_subcommands().empty()) {
    command.app = command.app->get_subcommands().front();
    command.name += " " + command.app->get_name();
  }
  return command;
}

/// Groups of options are commands without a name to CLI11.
std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({}))
    if (!command->get_name().empty()) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  for (const CLI::App* group : app.get_subcommands({}))
    if (group->get_name().empty()) std::ranges::move(options_of(*group), std::back_inserter(names));
  return names;
}

std::string reason(const Command& command, const std::vector<std::string>& unknown,
                   const CLI::ParseError& error) {
  const std::vector<std::string> commands = commands_of(*command.app);
  if (unknown.empty())
    return commands.empty() ? error.what()
                            : fmt::format("expected a command: one of {}", fmt::join(commands, ", "));
  const std::string& first = unknown.front();
  if (first.starts_with('-')) {
    const std::string known = nearest(first, options_of(*command.app));
    if (known == first) return fmt::format("expected {} behind the command", first);
    return fmt::format("there is no option '{}'; did you mean '{}'?", first, known);
  }
  if (commands.empty()) return fmt::format("unexpected argument '{}'", first);
  return fmt::format("there is no command '{}'; did you mean '{}'?", first, nearest(first, commands));
}

}  // namespace

bool names_unknown_command(const CLI::App& app) {
  return !app.remaining(true).empty() && !commands_of(*last_command(app).app).empty();
}

std::string misuse(const CLI::App& app, const CLI::ParseError& error) {
  const Command command = last_command(app);
  return fmt::format("{} ({} --help says more)", reason(command, app.remaining(true), error), command.name);
}

}  // namespace scrawl
