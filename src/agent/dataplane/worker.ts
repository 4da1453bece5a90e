/**
 * The data plane worker: one thread that owns the packet rings, the mapping socket, the raw and TUN output and all
 * tables of the packet path. It sleeps in poll(2) and never in an event loop; the main thread wakes it by an eventfd.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { errorText, ShuntError } from '../../errors.ts'
import { Standstill } from '../../health/unit/standstill.ts'
import { readClocks } from '../../os/clock.ts'
import { EventFd } from '../../os/eventfd.ts'
import { routeMtu } from '../../os/netlink/route.ts'
import { Poller, sleepUs } from '../../os/poller.ts'
import { eachRoute } from './batch.ts'
import { CaptureDesk } from './capture-desk.ts'
import { Datagrams } from './datagrams.ts'
import { Devices, type PreparedDevices } from './devices.ts'
import { DROP, DropCounters } from './drops.ts'
import { Engine } from './engine.ts'
import { formatAddress } from './flow-key.ts'
import { Lasting } from './lasting.ts'
import type { Adopted } from './lasting-plan.ts'
import { mappedFlows } from './mapped.ts'
import type { DataplanePlan, FromWorker, ToWorker, WorkerData, WorkerStatus } from './messages.ts'
import { PathMtu } from './path-mtu.ts'
import { Plumbing } from './plumbing.ts'
import { Prober, type ProbeTarget } from './prober.ts'
import { SessionDesk } from './session-desk.ts'
import { PacketOutput } from './slow-path.ts'
import { flowRows, workerStatus } from './snapshot.ts'
import { traceFlow } from './trace.ts'

/** Packets taken from one source before the others get their turn. */
const BURST = 64
const TICK_MS = 100
const IMPATIENT_TICK_MS = 10
/**
 * Under load, packets gather this long before a turn: one set of system calls, and one wake-up, then serves several. Load
 * is more packets in the last window than one connection alone sends; the packets of a lone one are not kept waiting.
 */
const COALESCE_US = 40
const WINDOW_MS = 2
const BUSY_PACKETS = 24
/** Routes gather this long before they cross to the main thread. */
const BATCH_MS = 5

class Worker {
  readonly #port: MessagePort
  readonly #wake: EventFd
  readonly #devices: Devices
  readonly #output: PacketOutput
  readonly #datagrams: Datagrams
  readonly #plumbing: Plumbing
  readonly #lasting: Lasting | null
  readonly #adopted: Adopted | null
  readonly #engine: Engine
  readonly #pathMtu = new PathMtu(host => routeMtu(formatAddress(host, 0)))
  readonly #captures: CaptureDesk
  readonly #sessions = new SessionDesk(
    () => this.#engine,
    (message, transfer) => this.#post(message, transfer),
  )
  #prober: Prober | null = null
  #poller = new Poller()
  #watched = { mappings: 0, wake: 0, prober: -1 }
  readonly #drops = new DropCounters()
  readonly #standstill = new Standstill()
  readonly #key = new Uint32Array(10)
  #nowS = 0
  #running = true
  /** At the end: what the kernel does stays. */
  #keep = false
  #tickAtMs = 0
  #batchAtMs = 0
  #ringDrops = 0
  /** Allotments to be answered when they are in force. */
  #allotted: number[] = []

  constructor({ plan, port, wakeFd }: WorkerData) {
    this.#port = port
    this.#wake = EventFd.attach(wakeFd)
    this.#devices = new Devices(plan)
    const { socket, raw, tun, frameSize } = this.#devices
    this.#output = new PacketOutput(raw, tun, this.#drops, frameSize)
    this.#datagrams = new Datagrams(
      socket,
      plan.mappingPort,
      plan.keys,
      plan.forwarder?.tunnelIpv4 ?? 0,
      plan.clusterIpv4,
      this.#drops,
    )
    this.#plumbing = new Plumbing(
      plan,
      () => this.#engine,
      () => this.#nowS,
      ipv4 => this.#datagrams.offsetOf(ipv4),
    )
    const notes: string[] = []
    this.#lasting = Lasting.open(plan, notes)
    this.#captures = new CaptureDesk(
      order => this.#plumbing.capture(order),
      batch => this.#post({ type: 'captured', batch }),
    )
    this.#engine = new Engine({
      plan: this.#withinFrame(plan),
      output: this.#output,
      datagrams: this.#datagrams,
      plumber: this.#plumbing.plumber,
      kernel: this.#plumbing.first ?? undefined,
      drops: this.#drops,
      nowS: () => this.#nowS,
      mtuTo: (host, nowMs) => Math.min(this.#devices.frameSize, this.#pathMtu.to(host, plan.mtuBytes, nowMs)),
      epochChanged: epoch => this.#post({ type: 'epoch', epoch }),
      columns: this.#lasting?.columns,
      continued: this.#lasting?.continued,
    })
    notes.push(...this.#plumbing.notes)
    this.#adopted = this.#lasting?.adopt(this.#engine, this.#plumbing, notes) ?? null
    this.#plumbing.first?.apply(plan)
  }

  #post(message: FromWorker, transfer: Uint32Array<ArrayBuffer>[] = []): void {
    this.#port.postMessage(
      message,
      transfer.map(words => words.buffer),
    )
  }

  #answer(id: number, data: unknown): void {
    this.#post({ type: 'answer', id, data })
  }

  #withinFrame(plan: DataplanePlan): DataplanePlan {
    return { ...plan, mtuBytes: Math.min(plan.mtuBytes, this.#devices.frameSize) }
  }

  /** A new poller for what there is to wait for now. */
  #watch(): void {
    const { rings, socket } = this.#devices
    const { fds } = this.#captures
    const poller = new Poller(rings.size + 5 + fds.length)
    for (const fd of fds) poller.add(fd)
    if (this.#plumbing.first !== null) poller.add(this.#plumbing.first.fd)
    for (const ring of rings.values()) poller.add(ring.fd)
    const { learning } = this.#plumbing.plumber
    if (learning !== undefined) poller.add(learning.fd)
    this.#poller = poller
    this.#watched = {
      mappings: poller.add(socket.fd),
      wake: poller.add(this.#wake.fd),
      prober: this.#prober === null ? -1 : poller.add(this.#prober.fd),
    }
  }

  /** Another plan, between two turns; answers null or why it is not in force. */
  #reconfigure(plan: DataplanePlan, nowMs: number): string | null {
    let prepared: PreparedDevices
    try {
      prepared = this.#devices.prepare(plan)
    } catch (error) {
      return errorText(error)
    }
    this.#send()
    this.#plumbing.withdraw(plan)
    this.#engine.reconfigure(this.#withinFrame(plan), nowMs)
    this.#plumbing.apply(plan)
    this.#output.use(prepared.raw, prepared.tun)
    this.#devices.use(prepared)
    this.#watch()
    return null
  }

  #probe(targets: readonly ProbeTarget[], nowMs: number): void {
    if (this.#prober === null) {
      if (targets.length === 0) return
      this.#prober = Prober.open(this.#engine.plan.clusterAddress)
      this.#watch()
    }
    this.#prober.setTargets(targets, nowMs)
  }

  run(): void {
    this.#watch()
    this.#plumbing.renew(readClocks())
    this.#post({
      ...{ type: 'ready', xdp: this.#plumbing.state, adopted: this.#adopted },
      epoch: this.#engine.forwarder?.epoch ?? null,
    })
    let packets = 0
    let windowMs = 0
    let busyUntilMs = 0
    while (this.#running) {
      if (this.#poller.wait(this.#patience()) > 0 && busyUntilMs > performance.now()) sleepUs(COALESCE_US)
      const nowMs = performance.now()
      if (nowMs - windowMs >= WINDOW_MS) {
        // A wait longer than the window ends the load as well.
        busyUntilMs = packets >= BUSY_PACKETS && nowMs - windowMs < 2 * WINDOW_MS ? nowMs + 2 * WINDOW_MS : 0
        windowMs = nowMs
        packets = 0
      }
      this.#nowS = Math.floor(Date.now() / 1000)
      this.#engine.turn(nowMs)
      if (this.#standstill.passed(readClocks())) this.#engine.stoodStill()
      // Before messages, which may put another poller in the place of this one.
      const mappings = this.#poller.ready(this.#watched.mappings)
      this.#turnProber(nowMs)
      if (this.#poller.ready(this.#watched.wake)) this.#takeMessages(nowMs)
      let busy = true
      for (let round = 0; busy && round < 32; round++) {
        // Datagrams first: an acknowledgement lets the packets that came with it go in tunnelled form.
        this.#plumbing.first?.drain()
        let taken = round > 0 || mappings ? this.#datagrams.receive(BURST) : 0
        busy = taken === BURST
        packets += taken
        taken = this.#plumbing.plumber.learning?.receive(BURST) ?? 0
        busy ||= taken === BURST
        packets += taken
        for (const ring of this.#devices.rings.values()) {
          taken = ring.receive(BURST, this.#engine.ringPacket)
          busy ||= taken === BURST
          packets += taken
        }
        this.#send()
      }
      this.#timers(nowMs)
      this.#send()
      this.#turnAllotments(nowMs)
      if (this.#captures.turn(nowMs)) this.#watch()
      this.#plumbing.first?.turn(nowMs)
      this.#plumbing.first?.refill(nowMs)
    }
    this.#close()
  }

  /** Packets leave before the routes that overtake them come into force. */
  #send(): void {
    this.#output.flush()
    this.#datagrams.flush()
    this.#plumbing.plumber.flush()
  }

  #turnProber(nowMs: number): void {
    const prober = this.#prober
    if (prober === null) return
    const states = prober.turn(nowMs, this.#poller.ready(this.#watched.prober))
    if (states !== null) this.#post({ type: 'nodes', states })
  }

  #turnAllotments(nowMs: number): void {
    const services = this.#engine.allotment.takeWanted()
    if (services.length > 0) this.#post({ type: 'allotments-wanted', services })
    if (this.#engine.isWithdrawing) this.#engine.withdraw(nowMs)
    if (this.#allotted.length === 0 || this.#engine.isWithdrawing) return
    for (const id of this.#allotted) this.#answer(id, null)
    this.#allotted = []
  }

  #patience(): number {
    if (this.#engine.isWithdrawing) return 0
    const nowMs = performance.now()
    const probeMs = Math.min(this.#prober?.waitMs(nowMs) ?? TICK_MS, this.#captures.waitMs(nowMs))
    if (this.#engine.impatient) return Math.min(probeMs, IMPATIENT_TICK_MS)
    return Math.min(probeMs, this.#hasBatch() ? BATCH_MS : TICK_MS)
  }

  #hasBatch(): boolean {
    if (this.#engine.ended.size > 0 || this.#sessions.isWaiting) return true
    for (const batch of this.#engine.plumbs.values()) if (batch.size > 0) return true
    return false
  }

  #timers(nowMs: number): void {
    if (nowMs >= this.#tickAtMs) {
      this.#tickAtMs = nowMs + (this.#engine.impatient ? IMPATIENT_TICK_MS : TICK_MS)
      this.#plumbing.renew(readClocks())
      const { routeLease, tcpIdle, udpIdle, linger } = this.#engine.plan.timeouts
      this.#plumbing.plumber.sweep(nowMs, routeLease, Math.max(tcpIdle, udpIdle) + linger)
      this.#engine.tick(nowMs)
      this.#plumbing.first?.tick(nowMs)
    }
    if (nowMs < this.#batchAtMs) return
    this.#batchAtMs = nowMs + BATCH_MS
    this.#sessions.turn()
    for (const [forwarderIpv4, batch] of this.#engine.plumbs) {
      if (batch.size === 0) continue
      const words = batch.take()
      this.#post({ type: 'plumb', forwarderIpv4, words }, [words])
    }
    if (this.#engine.ended.size === 0) return
    const words = this.#engine.ended.take()
    this.#post({ type: 'ended', words }, [words])
  }

  #takeMessages(nowMs: number): void {
    this.#wake.drain()
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: ToWorker } | undefined
      if (received === undefined) return
      this.#take(received.message, nowMs)
    }
  }

  #take(message: ToWorker, nowMs: number): void {
    const { forwarder, classifier, directory } = this.#engine
    switch (message.type) {
      case 'hosts':
        for (const state of message.states) {
          const host = directory.host(state.index)
          if (host === undefined) continue
          host.live = state.live
          host.draining = state.draining || host.leaving
        }
        return
      case 'classifiers':
        for (const entry of directory.directory.classifiers) entry.live = message.live.includes(entry.name)
        return
      case 'plumb':
        return eachRoute(message.words, this.#key, hostIpv4 => forwarder?.plumbed(this.#key, hostIpv4, nowMs))
      case 'unplumb':
        return eachRoute(message.words, this.#key, () => forwarder?.unplumbed(this.#key, nowMs))
      case 'ended':
        return eachRoute(message.words, this.#key, () => classifier?.ended(this.#key))
      case 'flows':
        return this.#answer(message.id, flowRows(this.#engine, message.query ?? { limit: 100 }, nowMs))
      case 'capture': {
        const data = this.#captures.begin(this.#engine.plan, message.order, nowMs)
        this.#watch()
        return this.#answer(message.id, data)
      }
      case 'capture-stop':
        this.#captures.stop()
        return this.#watch()
      case 'trace': {
        // What the kernel has chosen by itself meanwhile.
        this.#plumbing.first?.drain()
        const data = traceFlow(this.#engine, this.#plumbing.looks, message.key, nowMs)
        return this.#answer(message.id, data)
      }
      case 'mapped':
        return this.#answer(message.id, mappedFlows(this.#engine.host, message.words))
      case 'status':
        return this.#answer(message.id, this.#status())
      case 'plan':
        return this.#answer(message.id, this.#reconfigure(message.plan, nowMs))
      case 'allotments':
        this.#engine.allot(message.update, nowMs)
        this.#allotted.push(message.id)
        return
      case 'leases':
        return this.#engine.allotment.renew(message.leases)
      case 'resolved':
      case 'claimed':
      case 'clients':
      case 'flows-all':
      case 'atoms-taken':
        return this.#sessions.take(message, nowMs)
      case 'probe':
        return this.#probe(message.targets, nowMs)
      case 'stop':
        this.#keep = message.keep
        this.#running = false
    }
  }

  #status(): unknown {
    this.#plumbing.first?.drain()
    const { packets, drops: ringDrops } = this.#devices.ringStats()
    for (; this.#ringDrops < ringDrops; this.#ringDrops++) this.#drops.add(DROP.RING_FULL)
    return {
      ...workerStatus(this.#engine, { ring_packets: packets, ...this.#plumbing.changes }),
      edge: this.#plumbing.edgeStatus(),
      xdp: this.#plumbing.state,
      adopted: this.#adopted,
    } satisfies WorkerStatus
  }

  #close(): void {
    this.#prober?.close()
    this.#captures.stop()
    // First: what XDP passes on would find nobody.
    this.#plumbing.close(this.#keep)
    this.#lasting?.close()
    this.#devices.close()
    this.#post({ type: 'stopped' })
    this.#port.close()
  }
}

const data = workerData as WorkerData
try {
  new Worker(data).run()
} catch (error) {
  data.port.postMessage({
    type: 'failed',
    // A coded error speaks for itself; of anything else the place is wanted.
    message:
      error instanceof Error && !(error instanceof ShuntError)
        ? (error.stack ?? error.message)
        : errorText(error),
  })
  data.port.close()
}
