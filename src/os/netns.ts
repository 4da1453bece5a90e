import { execFile } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { promisify } from 'node:util'
import { errorText, ShuntError } from '../errors.ts'
import { check, libc } from './ffi.ts'

const CLONE_NEWNET = 0x40000000
const O_RDONLY_CLOEXEC = 0x80000
const run = promisify(execFile)

/**
 * Moves the calling thread, and only it, to a named network namespace (`ip netns`); sockets belong to the one
 * they were opened in. Node's thread pool stays behind: in there, use synchronous calls only.
 */
export const enterNetns = (name: string): void => {
  if (name === '' || name.includes('/'))
    throw new RangeError(`${JSON.stringify(name)} is not a namespace name`)
  enterNetnsPath(`/run/netns/${name}`, `see \`ip netns list\``)
}

/** The same for a path such as `/proc/<pid>/ns/net`. */
export const enterNetnsPath = (path: string, hint?: string): void => {
  const fd = check(`open(${path})`, libc.open(path, O_RDONLY_CLOEXEC, 0), hint)
  try {
    check(`setns(${path})`, libc.setns(fd, CLONE_NEWNET))
  } finally {
    libc.close(fd)
  }
}

/** Identifies the calling thread's network namespace. */
export const currentNetnsInode = (): number => {
  const link = readlinkSync('/proc/thread-self/ns/net') // net:[4026531833]
  const inode = /\[(\d+)\]/.exec(link)?.[1]
  if (inode === undefined) throw new ShuntError('SHUNT_ERR_OS', `unexpected namespace link ${link}`)
  return Number(inode)
}

export const createNetns = (name: string): Promise<void> => ip(['netns', 'add', name])

/** Removes a namespace and, once nothing in it runs, its interfaces; one that is not there is success. */
export const deleteNetns = async (name: string): Promise<void> => {
  try {
    await ip(['netns', 'delete', name])
  } catch (error) {
    if (!/No such file or directory/.test(errorText(error))) throw error
  }
}

/** Runs many `ip` commands (without the word `ip`) in one process, in a namespace or (null) where we are. */
export const ipBatch = (netns: string | null, lines: readonly string[]): Promise<void> =>
  ip([...(netns === null ? [] : ['-netns', netns]), '-batch', '-'], `${lines.join('\n')}\n`)

const ip = async (args: string[], input = ''): Promise<void> => {
  const running = run('ip', args)
  running.child.stdin?.on('error', () => {}) // a process that failed early reads nothing; its exit tells why
  running.child.stdin?.end(input)
  try {
    await running
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new ShuntError(
        'SHUNT_ERR_CAPABILITY',
        'the ip command is missing: install the iproute2 package',
        {
          cause: error,
        },
      )
    }
    const text = String((error as { stderr?: string }).stderr ?? errorText(error)).trim()
    throw new ShuntError('SHUNT_ERR_OS', `ip ${args.join(' ')}: ${text}`, { cause: error })
  }
}
