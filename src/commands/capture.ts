import { closeSync, openSync, writeSync } from 'node:fs'
import { isIP } from 'node:net'
import { Args, Flags } from '@oclif/core'
import { isPrefix } from '../address-port.ts'
import { BaseCommand } from '../cli/base-command.ts'
import { parseDuration } from '../cli/duration.ts'
import { EXIT } from '../cli/exit-codes.ts'
import { count } from '../cli/format.ts'
import { nounFlags } from '../cli/noun-command.ts'
import { json, note, print, stdoutGone, warn } from '../cli/output.ts'
import {
  type CaptureData,
  DEFAULT_CAPTURE_COUNT,
  DEFAULT_CAPTURE_SECONDS,
  type Envelope,
  MAX_CAPTURE_COUNT,
  MAX_CAPTURE_SECONDS,
  MAX_SNAPLEN,
  MIN_SNAPLEN,
} from '../control/types.ts'
import { errorText, ShuntError } from '../errors.ts'
import { oneLine } from '../plain-text.ts'

/** `vip`, `vip:port`, `[vip]:port`; IPv6 without a port needs no brackets. */
const targetOf = (text: string): { vip: string; port?: string } => {
  if (isIP(text) !== 0) return { vip: text }
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const vip = bracketed ?? plain ?? ''
  if (isIP(vip) === 0 || (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)))
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      'give the VIP as 198.51.100.10, 198.51.100.10:80 or [2001:db8::10]:80',
    )
  return { vip, ...(port === undefined ? {} : { port }) }
}

/** Throws SHUNT_ERR_USAGE for what is neither an address nor a prefix of one. */
const checkClient = (text: string): void => {
  if (!isPrefix(text))
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      `--client takes an address or a prefix, such as 203.0.113.5 or 203.0.113.0/24; not "${oneLine(text).slice(0, 80)}"`,
    )
}

/** Takes what comes, and is told of the end. */
interface Sink {
  take(envelope: Envelope<CaptureData>): void
  end(lost: number): void
}

export default class Capture extends BaseCommand {
  static override summary = 'Capture the packets of a VIP, as they come to this node.'
  static override description =
    `On a forwarder: what clients send, as it comes, before anything is rewritten; with XDP also what became of each packet (as its comment in the file), which neither tcpdump nor
a socket sees. On a node that is only a host, or with --at stack: what the own stack gets, restored. The agent captures, one at a time; it ends after so many packets, when the time is up, with
Ctrl-C, or with this command, whichever comes first. Packets that came too fast are counted as lost. With -w the file is pcapng, for tcpdump -r and Wireshark; without, a line a packet. With nftables,
packets that the kernel had merged are one. Of each packet the first ${MAX_SNAPLEN} bytes are kept at most: they may hold what clients sent.`
  static override examples = [
    '<%= config.bin %> capture 198.51.100.10:80',
    '<%= config.bin %> capture 198.51.100.10 --client 203.0.113.0/24 --count 5000 --duration 1m -w web.pcapng',
    '<%= config.bin %> capture 198.51.100.10:80 -w - | tcpdump -r -',
  ]
  static override args = {
    vip: Args.string({ description: 'VIP, VIP:PORT or [VIP]:PORT.', required: true }),
  }
  static override flags = {
    socket: nounFlags.socket,
    count: Flags.integer({
      char: 'c',
      description: 'At most this many packets.',
      default: DEFAULT_CAPTURE_COUNT,
      min: 1,
      max: MAX_CAPTURE_COUNT,
      helpValue: 'N',
    }),
    duration: Flags.string({
      description: `At most so long, up to ${MAX_CAPTURE_SECONDS}s.`,
      default: `${DEFAULT_CAPTURE_SECONDS}s`,
      helpValue: 'TIME',
    }),
    snaplen: Flags.integer({
      description: 'Bytes of each packet.',
      default: MAX_SNAPLEN,
      min: MIN_SNAPLEN,
      max: MAX_SNAPLEN,
      helpValue: 'BYTES',
    }),
    client: Flags.string({ description: 'Only packets of this client.', helpValue: 'ADDRESS[/BITS]' }),
    at: Flags.string({
      description: 'client: as it came; stack: as the own stack gets it.',
      options: ['client', 'stack'],
    }),
    write: Flags.string({
      ...{ char: 'w', description: 'Write pcapng to this file; - is standard output.', helpValue: 'FILE' },
      exclusive: ['json'],
    }),
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(Capture)
    if (flags.client !== undefined) checkClient(flags.client)
    const ms = parseDuration(flags.duration, '--duration', 1000, MAX_CAPTURE_SECONDS * 1000)
    const query = new URLSearchParams({
      ...targetOf(args.vip),
      ...{
        count: String(flags.count),
        seconds: String(Math.ceil(ms / 1000)),
        snaplen: String(flags.snaplen),
      },
      ...(flags.client === undefined ? {} : { client: flags.client }),
      ...(flags.at === undefined ? {} : { at: flags.at }),
    })
    const sink = flags.json ? jsonSink() : await this.#sink(flags.write, flags.snaplen)
    await this.#follow(flags.socket, `/v1/capture?${query}`, sink)
  }

  async #sink(file: string | undefined, snaplen: number): Promise<Sink> {
    if (file !== undefined) return fileSink(file, snaplen)
    const { captureLine } = await import('../cli/capture-line.ts')
    return {
      take: ({ data }) => {
        for (const packet of data.packets) print(captureLine(packet))
      },
      end: () => {},
    }
  }

  async #follow(socket: string, path: string, sink: Sink): Promise<void> {
    const { follow } = await import('../control/client.ts')
    const interrupted = new AbortController()
    const done = new AbortController()
    const onSignal = (): void => interrupted.abort()
    process.once('SIGINT', onSignal)
    process.once('SIGTERM', onSignal)
    let [packets, lost] = [0, 0]
    let isBegun = false
    let end: CaptureData['end'] = null
    try {
      const signal = AbortSignal.any([interrupted.signal, done.signal, stdoutGone])
      const take = (envelope: Envelope): void => {
        const one = envelope as Envelope<CaptureData>
        if (!isBegun) note(`${one.node} captures; Ctrl-C ends it`)
        isBegun = true
        packets += one.data.packets.length
        ;({ lost, end } = one.data)
        sink.take(one)
        if (end !== null) done.abort()
      }
      await follow(socket, path, take, signal)
    } finally {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
      sink.end(lost)
    }
    note(`${count(packets, 'packet')}, ${lost} lost${end === 'time' ? '; the time is up' : ''}`)
    if (lost > 0) warn(`${count(lost, 'packet')} came too fast and are not in the capture`)
    if (end === 'stopped')
      throw new ShuntError('SHUNT_ERR_CONTROL_UNREACHABLE', 'the agent ended the capture: it stops')
    if (interrupted.signal.aborted) process.exitCode = EXIT.INTERRUPTED
  }
}

const jsonSink = (): Sink => ({ take: envelope => print(json(envelope, false)), end: () => {} })

const fileSink = async (file: string, snaplen: number): Promise<Sink> => {
  if (file === '-' && process.stdout.isTTY)
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      'a terminal cannot show pcapng: give -w a file, or pipe it to tcpdump -r -',
    )
  const [{ PcapngWriter }, { VERSION }] = await Promise.all([
    import('../cli/pcapng.ts'),
    import('../version.ts'),
  ])
  const writer = new PcapngWriter(snaplen)
  const fd = file === '-' ? 1 : openFile(file)
  const write = (bytes: Buffer): void => {
    // A pipe's end is told by `stdoutGone`.
    if (fd === 1) process.stdout.write(bytes)
    else for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
  }
  write(writer.begin(`shunt ${VERSION}`))
  return {
    take: ({ data }) => {
      if (data.packets.length > 0) write(Buffer.concat(data.packets.map(packet => writer.packet(packet))))
    },
    end: lost => {
      write(writer.end(lost, Date.now() * 1000))
      if (fd !== 1) closeSync(fd)
    },
  }
}

/** For its owner alone: it may hold what clients sent. */
const openFile = (file: string): number => {
  try {
    return openSync(file, 'w', 0o600)
  } catch (error) {
    throw new ShuntError('SHUNT_ERR_USAGE', `cannot write ${file}: ${errorText(error)}`)
  }
}
