import { readFileSync } from 'node:fs'
import { libc } from './ffi.ts'

const MADV_DONTNEED = 4

/**
 * Gives back the pages of this executable that were only needed to start: its unmodified mappings (code and constants)
 * leave the process's page table and come back from the page cache, one fault each, when they are used. Mappings with any
 * page of our own (relocations) are left alone. Answers the bytes that were resident in what was given back.
 */
export const releaseStartupPages = (): number => {
  let released = 0
  let start = 0n
  let end = 0n
  let ours = false
  let resident = 0
  for (const line of readFileSync('/proc/self/smaps', 'latin1').split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (r-xp|r--p) \S+ \S+ \d+\s+(\S+)$/.exec(line)
    if (head !== null) {
      start = BigInt(`0x${head[1]}`)
      end = BigInt(`0x${head[2]}`)
      ours = head[4] === process.execPath
    } else if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) ours = false
    else if (ours && line.startsWith('Rss:')) resident = Number(line.match(/\d+/)?.[0] ?? 0) * 1024
    else if (ours && line.startsWith('Anonymous:')) {
      if (
        Number(line.match(/\d+/)?.[0] ?? 1) === 0 &&
        libc.madvise(start, end - start, MADV_DONTNEED) === 0
      ) {
        released += resident
      }
      ours = false
    }
  }
  return released
}
