#pragma once
#include <filesystem>

namespace scrawl {

/// Keeps other processes that lock it too out of a folder, which is made if need be, and removed again
/// when nothing came into it; the system ends the lock with the process, however that ends.  InputError when
/// another process holds it.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::filesystem::path folder_;
  bool made_;
  int descriptor_;
};

}  // namespace scrawl
