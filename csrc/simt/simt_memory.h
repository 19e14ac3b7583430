// Shared memory of one block: every array lies between redzones and starts as NaN, so that reading what was never
// written shows in the result and writing past an end is found when the block is done (at once under AddressSanitizer).
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define CF_POISON(p, n) __asan_poison_memory_region(p, n)
#define CF_UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define CF_POISON(p, n) (void)0
#define CF_UNPOISON(p, n) (void)0
#endif

namespace chordfast {
namespace simt {

class SharedMemory {
 public:
  static constexpr size_t usual_limit = 48 * 1024;     // static arrays, and dynamic memory not asked for beforehand
  static constexpr size_t largest_limit = 227 * 1024;  // sm_90 and sm_100

  void begin(size_t dynamic_bytes) {
    if (!memory_) {
      void* p = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (p == MAP_FAILED) throw std::bad_alloc();
      memory_ = static_cast<unsigned char*>(p);
    }
    drop();
    dynamic_bytes_ = dynamic_bytes;
    dynamic_ = dynamic_bytes ? add(nullptr, "dynamic shared memory", dynamic_bytes) : nullptr;
  }

  void* array(const void* tag, const char* name, size_t bytes) {
    for (const Piece& piece : pieces_)
      if (piece.tag == tag) return piece.data;
    static_bytes_ += bytes;
    if (static_bytes_ > usual_limit || static_bytes_ + dynamic_bytes_ > largest_limit)
      throw std::runtime_error("shared memory: " + std::to_string(static_bytes_) + " static and " +
                               std::to_string(dynamic_bytes_) + " dynamic bytes do not fit");
    return add(tag, name, bytes);
  }

  void* dynamic() {
    if (!dynamic_) throw std::runtime_error("dynamic shared memory is used, but the launch gave none");
    return dynamic_;
  }

  bool holds(const void* address, size_t bytes) const {
    const auto* p = static_cast<const unsigned char*>(address);
    for (const Piece& piece : pieces_)
      if (p >= piece.data && p + bytes <= piece.data + piece.bytes) return true;
    return false;
  }

  // Checks the redzones; what is wrong, or nothing.
  std::string end() {
    std::string damage;
    for (const Piece& piece : pieces_) {
      const size_t padded = round_up(piece.bytes);
      CF_UNPOISON(piece.data - redzone, redzone + padded + redzone);
      for (size_t i = 1; i <= redzone && damage.empty(); ++i)
        if (piece.data[-static_cast<ptrdiff_t>(i)] != poison)
          damage = piece.name + ": written " + std::to_string(i) + " bytes before its start";
      for (size_t i = piece.bytes; i < padded + redzone && damage.empty(); ++i)
        if (piece.data[i] != poison)
          damage = piece.name + ": written at byte " + std::to_string(i) + " of " + std::to_string(piece.bytes);
    }
    return damage.empty() ? damage : "shared array " + damage;
  }

  void drop() {
    if (memory_) CF_UNPOISON(memory_, used_);
    pieces_.clear();
    used_ = static_bytes_ = dynamic_bytes_ = 0;
    dynamic_ = nullptr;
  }

 private:
  static constexpr size_t redzone = 256;
  static constexpr size_t capacity = 1 << 20;
  static constexpr unsigned char poison = 0xff;  // NaN in every floating-point type, -1 as an integer

  struct Piece {
    const void* tag;
    std::string name;
    unsigned char* data;
    size_t bytes;
  };

  static size_t round_up(size_t bytes) { return (bytes + 127) / 128 * 128; }

  void* add(const void* tag, const char* name, size_t bytes) {
    const size_t whole = redzone + round_up(bytes) + redzone;
    if (used_ + whole > capacity) throw std::runtime_error("too many shared arrays");
    unsigned char* data = memory_ + used_ + redzone;
    std::memset(memory_ + used_, poison, whole);
    CF_POISON(memory_ + used_, redzone);
    CF_POISON(data + bytes, whole - redzone - bytes);
    used_ += whole;
    pieces_.push_back({tag, name, data, bytes});
    return data;
  }

  unsigned char* memory_ = nullptr;
  void* dynamic_ = nullptr;
  size_t used_ = 0, static_bytes_ = 0, dynamic_bytes_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace simt
}  // namespace chordfast
