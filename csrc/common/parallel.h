// parallel_for over independent pieces with plain threads; exceptions are carried to the caller.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace chordfast {

template <class Body>
void parallel_for(int64_t pieces, int threads, Body&& body) {
  if (threads > pieces) threads = static_cast<int>(pieces);
  if (threads <= 1) {
    for (int64_t i = 0; i < pieces; ++i) body(i);
    return;
  }
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex guard;
  auto work = [&] {
    for (int64_t i = next++; i < pieces; i = next++) {
      try {
        body(i);
      } catch (...) {
        std::lock_guard<std::mutex> lock(guard);
        if (!error) error = std::current_exception();
        next = pieces;
      }
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work);
  work();
  for (auto& thread : others) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace chordfast
