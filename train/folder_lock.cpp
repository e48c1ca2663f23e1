#include "train/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

FolderLock::FolderLock(const std::filesystem::path& folder) : folder_(folder) {
  std::error_code error;
  made_ = !std::filesystem::exists(folder, error);
  make_directories(folder);
  descriptor_ = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0) throw InputError("{}: this folder cannot be opened", folder.string());
  // File systems that know no locks say so in other words than EWOULDBLOCK; there it is up to the user.
  if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  close(descriptor_);
  throw InputError("{}: another process is training in this folder", folder.string());
}

FolderLock::~FolderLock() {
  std::error_code not_empty;
  if (made_) std::filesystem::remove(folder_, not_empty);
  close(descriptor_);
}

}  // namespace scrawl
