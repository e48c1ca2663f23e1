// Writes the greedy inputs of a target into a folder, for the fuzz target to read one by one.
#include <filesystem>
#include <fstream>

#include "tests/fuzz/greedy_inputs.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::filesystem::path folder = argv[2];
  std::filesystem::create_directories(folder);
  int number = 0;
  for (const std::string& input : scrawl::greedy_inputs(argv[1]))
    std::ofstream(folder / std::to_string(++number), std::ios::binary) << input;
}
