/** A program that is asked by lines and answers by lines of JSON. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { ShuntError } from '../../../src/errors.ts'

export class Lines {
  readonly child: ChildProcess
  readonly #lines: AsyncIterator<string>
  #complaint = ''

  constructor(child: ChildProcess) {
    this.child = child
    child.stderr!.on('data', text => {
      this.#complaint = `${this.#complaint}${text}`.slice(-1000)
    })
    // What it is told after its end tells of itself by the answer that does not come.
    child.stdin!.on('error', () => {})
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  }

  tell(line: string): void {
    this.child.stdin!.write(`${line}\n`)
  }

  /** @throws ShuntError SHUNT_ERR_LAB when it ends instead */
  async next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next()
    if (!done) return JSON.parse(value) as T
    throw new ShuntError(
      'SHUNT_ERR_LAB',
      `the traffic program has ended: ${this.#complaint.trim() || 'without a word'}`,
    )
  }

  async ask<T>(line: string): Promise<T> {
    this.tell(line)
    return this.next<T>()
  }

  async end(): Promise<void> {
    const { child } = this
    child.stdin!.end()
    child.stdout!.resume()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
}
