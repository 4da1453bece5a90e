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
import { sleepUs } from '../../os/poller.ts'
import { AllotmentDesk } from './allotment-desk.ts'
import { CaptureDesk } from './capture-desk.ts'
import { Datagrams } from './datagrams.ts'
import { Devices, type PreparedDevices } from './devices.ts'
import { DROP, DropCounters } from './drops.ts'
import { Engine } from './engine.ts'
import { formatAddress } from './flow-key.ts'
import { Lasting } from './lasting.ts'
import type { Adopted } from './lasting-plan.ts'
import { mappedFlows } from './mapped.ts'
import type { DataplanePlan, PostToMain, ToWorker, WorkerData, WorkerStatus } from './messages.ts'
import { PacketLoad } from './packet-load.ts'
import { PathMtu } from './path-mtu.ts'
import { Plumbing } from './plumbing.ts'
import { ProbeDesk } from './probe-desk.ts'
import { RouteDesk } from './route-desk.ts'
import { SessionDesk } from './session-desk.ts'
import { PacketOutput } from './slow-path.ts'
import { flowRows, workerStatus } from './snapshot.ts'
import { traceFlow } from './trace.ts'
import { Watch } from './watch.ts'

/** Packets taken from one source before the others get their turn. */
const BURST = 64
const MOST_ROUNDS = 32
const TICK_MS = 100
const IMPATIENT_TICK_MS = 10
/** Under load, packets gather this long before a turn: one set of system calls, and one wake-up, then serves several. */
const COALESCE_US = 40
/** Routes gather this long before they cross to the main thread. */
const BATCH_MS = 5
const NO_VIPS: readonly string[] = []

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
  readonly #post: PostToMain = (message, transfer = []) =>
    this.#port.postMessage(
      message,
      transfer.map(words => words.buffer),
    )
  readonly #sessions = new SessionDesk(() => this.#engine, this.#post)
  readonly #routes = new RouteDesk(() => this.#engine, this.#post)
  readonly #allotments = new AllotmentDesk(() => this.#engine, this.#post)
  readonly #probes = new ProbeDesk(this.#post)
  #watch: Watch
  readonly #drops = new DropCounters()
  /** As the main thread was told. */
  #alone: readonly string[] | null = null
  readonly #standstill = new Standstill()
  readonly #load = new PacketLoad()
  #nowS = 0
  #running = true
  /** At the end: what the kernel does stays. */
  #keep = false
  #tickAtMs = 0
  #batchAtMs = 0
  #ringDrops = 0

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
    this.#watch = this.#newWatch()
  }

  #answer(id: number, data: unknown): void {
    this.#post({ type: 'answer', id, data })
  }

  #withinFrame(plan: DataplanePlan): DataplanePlan {
    return { ...plan, mtuBytes: Math.min(plan.mtuBytes, this.#devices.frameSize) }
  }

  #newWatch(): Watch {
    return new Watch(this.#devices, this.#plumbing, this.#captures, this.#probes, this.#wake)
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
    this.#watch = this.#newWatch()
    return null
  }

  run(): void {
    this.#plumbing.renew(readClocks())
    this.#post({
      ...{ type: 'ready', xdp: this.#plumbing.state, adopted: this.#adopted },
      epoch: this.#engine.forwarder?.epoch ?? null,
    })
    while (this.#running) {
      if (this.#watch.wait(this.#patience()) && this.#load.isHeavy(performance.now())) sleepUs(COALESCE_US)
      const nowMs = performance.now()
      this.#load.turn(nowMs)
      this.#nowS = Math.floor(Date.now() / 1000)
      this.#engine.turn(nowMs)
      if (this.#standstill.passed(readClocks())) this.#engine.stoodStill()
      // Before messages, after which there may be another to ask.
      const mappings = this.#watch.hasMappings
      this.#probes.turn(nowMs, this.#watch.hasReplies)
      if (this.#watch.hasMessages) this.#takeMessages(nowMs)
      this.#receive(mappings)
      this.#timers(nowMs)
      this.#send()
      this.#allotments.turn(nowMs)
      if (this.#captures.turn(nowMs)) this.#watch = this.#newWatch()
      this.#plumbing.first?.turn(nowMs)
      this.#plumbing.first?.refill(nowMs)
      this.#tellAlone()
    }
    this.#close()
  }

  #tellAlone(): void {
    const vips = this.#plumbing.first?.alone ?? NO_VIPS
    if (vips === this.#alone) return
    this.#alone = vips
    this.#post({ type: 'alone', vips })
  }

  /** What has come, from each source in its turn, until all are empty or have had many turns. @param mappings there are datagrams */
  #receive(mappings: boolean): void {
    let busy = true
    for (let round = 0; busy && round < MOST_ROUNDS; round++) {
      // Datagrams first: an acknowledgement lets the packets that came with it go in tunnelled form.
      this.#plumbing.first?.drain()
      let taken = round > 0 || mappings ? this.#datagrams.receive(BURST) : 0
      busy = taken === BURST
      this.#load.add(taken)
      taken = this.#plumbing.plumber.learning?.receive(BURST) ?? 0
      busy ||= taken === BURST
      this.#load.add(taken)
      for (const ring of this.#devices.rings.values()) {
        taken = ring.receive(BURST, this.#engine.ringPacket)
        busy ||= taken === BURST
        this.#load.add(taken)
      }
      this.#send()
    }
  }

  /** Packets leave before the routes that overtake them come into force. */
  #send(): void {
    this.#output.flush()
    this.#datagrams.flush()
    this.#plumbing.plumber.flush()
  }

  #patience(): number {
    if (this.#engine.isWithdrawing) return 0
    const nowMs = performance.now()
    const deskMs = Math.min(this.#probes.waitMs(nowMs), this.#captures.waitMs(nowMs))
    if (this.#engine.impatient) return Math.min(deskMs, IMPATIENT_TICK_MS)
    return Math.min(deskMs, this.#routes.isWaiting || this.#sessions.isWaiting ? BATCH_MS : TICK_MS)
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
    this.#routes.turn()
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
    switch (message.type) {
      case 'hosts':
        return this.#engine.directory.hostsAre(message.states)
      case 'classifiers':
        return this.#engine.directory.classifiersAlive(message.live)
      case 'plumb':
      case 'unplumb':
      case 'ended':
        return this.#routes.take(message, nowMs)
      case 'flows':
        return this.#answer(message.id, flowRows(this.#engine, message.query ?? { limit: 100 }, nowMs))
      case 'capture': {
        const data = this.#captures.begin(this.#engine.plan, message.order, nowMs)
        this.#watch = this.#newWatch()
        return this.#answer(message.id, data)
      }
      case 'capture-stop':
        this.#captures.stop()
        this.#watch = this.#newWatch()
        return
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
      case 'leases':
        return this.#allotments.take(message, nowMs)
      case 'resolved':
      case 'claimed':
      case 'verified':
      case 'clients':
      case 'flows-all':
      case 'atoms-taken':
        return this.#sessions.take(message, nowMs)
      case 'probe':
        if (this.#probes.take(message.targets, this.#engine.plan.clusterAddress, nowMs))
          this.#watch = this.#newWatch()
        return
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
    this.#probes.close()
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
