import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { workerSource } from '../../assets.ts'
import { errorText, ShuntError } from '../../errors.ts'
import type { NodeState, ProbeTarget } from '../../health/node-probe.ts'
import { EventFd } from '../../os/eventfd.ts'
import type { AllotmentUpdate, HostLease } from '../classify/update.ts'
import type { CaptureBatch, CaptureOrder } from './capture.ts'
import type { Adopted } from './lasting-plan.ts'
import type {
  DataplanePlan,
  FlowRow,
  FromWorker,
  Query,
  ToWorker,
  WorkerStatus,
  XdpState,
} from './messages.ts'
import type { TraceLook } from './trace.ts'

/** Longest wait for an answer of the worker, in milliseconds: it answers between two bursts of packets. */
const ANSWER_MS = 5000
/** And until another plan is in force: it may have a full table to go through. */
const PLAN_MS = 30_000

export interface DataplaneEvents {
  plumb(forwarderIpv4: number, words: Uint32Array): void
  ended(words: Uint32Array): void
  /** Routes, as atoms: records of ATOM_WORDS. Left out: nobody keeps them. */
  atoms?(words: Uint32Array): void
  /** Ends of some routes were not told of: their atoms stay until they are idle. */
  atomsLost?(): void
  /** Flows from their middle that the packet path does not know, to be answered by `resolved`: records of RESOLVE_WORDS. */
  resolve?(words: Uint32Array): void
  /** Idle flows that hosts are to be asked about, to be answered by `verified`: records of RESOLVE_WORDS. */
  verify?(words: Uint32Array): void
  epoch(epoch: number): void
  /** Machines whose state changed, by probes. */
  nodes(states: readonly NodeState[]): void
  /** `Dataplane.alone` has changed. */
  aloneChanged?(): void
  /** The classifier has used up what it was allotted of these services (by index), or nearly, or its time is nearly over. */
  allotmentsWanted(services: readonly number[]): void
  /** The worker died: packets that the kernel does not forward go nowhere until the agent restarts. */
  failed(message: string): void
}

/** The main thread's handle of the data plane worker. */
export class Dataplane {
  /** As of the start. */
  xdp: XdpState = { text: null, reasons: [] }
  /** What was taken over of the agent before; null: there was nothing. */
  adopted: Adopted | null = null
  /** Of the forwarder role at the start: that of the agent before, when it went on. */
  epoch: number | null = null
  /** VIPs for all services of which the kernel opens flows, with or without an agent; null: it has not said yet. */
  alone: ReadonlySet<string> | null = null
  /** Takes what the capture that runs has caught. */
  captured: ((batch: CaptureBatch) => void) | null = null
  readonly #wake = EventFd.open()
  readonly #port: MessagePort
  readonly #worker: Worker
  readonly #answers = new Map<number, (data: unknown) => void>()
  readonly #events: DataplaneEvents
  #nextId = 1
  #ready: () => void = () => {}
  #broken: (error: Error) => void = () => {}
  #stopped: () => void = () => {}
  #stopping = false
  #over = false

  private constructor(plan: DataplanePlan, events: DataplaneEvents) {
    this.#events = events
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#port.on('message', (message: FromWorker) => this.#take(message))
    const options = {
      workerData: { plan, port: port2, wakeFd: this.#wake.fd },
      transferList: [port2],
      resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 512 },
    }
    const source = workerSource('dataplane')
    this.#worker =
      'code' in source ? new Worker(source.code, { ...options, eval: true }) : new Worker(source.url, options)
    this.#worker.on('error', (error: unknown) => this.#fail(errorText(error)))
    this.#worker.on('exit', () => {
      // Its last message may come after its end.
      if (this.#stopping) this.#take({ type: 'stopped' })
      else if (!this.#over) this.#fail('the worker ended by itself')
    })
  }

  /** Starts the worker; throws SHUNT_ERR_DATAPLANE with its reason when it cannot run. */
  static async start(plan: DataplanePlan, events: DataplaneEvents): Promise<Dataplane> {
    const dataplane = new Dataplane(plan, events)
    await new Promise<void>((resolve, reject) => {
      dataplane.#ready = resolve
      dataplane.#broken = reject
    })
    return dataplane
  }

  send(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    if (this.#over) return
    this.#port.postMessage(message, transfer)
    this.#wake.signal()
  }

  status(): Promise<WorkerStatus> {
    return this.#ask(id => ({ type: 'status', id })) as Promise<WorkerStatus>
  }

  flows(query: Query): Promise<{ total: number; flows: FlowRow[] }> {
    return this.#ask(id => ({ type: 'flows', id, query })) as Promise<{
      total: number
      flows: FlowRow[]
    }>
  }

  /** Begins one; null, or why it cannot. Its packets come to `captured`. */
  capture(order: CaptureOrder): Promise<string | null> {
    return this.#ask(id => ({ type: 'capture', id, order })) as Promise<string | null>
  }

  captureStop(): void {
    this.send({ type: 'capture-stop' })
  }

  /** What the packet path knows of a flow (ten words); nothing of it counts as use. */
  trace(key: Uint32Array): Promise<TraceLook> {
    return this.#ask(id => ({ type: 'trace', id, key })) as Promise<TraceLook>
  }

  /** A byte for each flow (ten words); 1: the host role of this node holds a mapping of it. */
  mapped(words: Uint32Array): Promise<Uint8Array> {
    return this.#ask(id => ({ type: 'mapped', id, words })) as Promise<Uint8Array>
  }

  /**
   * Takes another plan into force while packets flow; resolves when it is. Rejects with SHUNT_ERR_DATAPLANE when it cannot
   * (a device that is taken, an interface that went): then the one before stays in force, whole.
   */
  async reconfigure(plan: DataplanePlan): Promise<void> {
    const refused = await this.#ask(id => ({ type: 'plan', id, plan }), PLAN_MS)
    if (refused !== null) throw new ShuntError('SHUNT_ERR_DATAPLANE', String(refused))
  }

  /**
   * Puts allotments in force while packets flow; resolves when no packet follows an earlier one any more. Before the first call, services
   * are balanced by configured capacity. Later calls overtake none before. Rejects with SHUNT_ERR_DATAPLANE when the worker does not answer.
   */
  async allot(update: AllotmentUpdate): Promise<void> {
    await this.#ask(id => ({ type: 'allotments', id, update }))
  }

  /** Until when new connections may go to hosts by what is in force. */
  lease(leases: readonly HostLease[]): void {
    this.send({ type: 'leases', leases })
  }

  /** Answers to `verify`: records of RESOLVED_WORDS, which are given away. */
  verified(words: Uint32Array<ArrayBuffer>): void {
    this.send({ type: 'verified', words }, [words.buffer])
  }

  /** Answers to `resolve`: records of RESOLVED_WORDS, which are given away. */
  resolved(words: Uint32Array<ArrayBuffer>): void {
    this.send({ type: 'resolved', words }, [words.buffer])
  }

  /** Routes that another member carries now: records of RESOLVED_WORDS, which are given away. */
  claimed(words: Uint32Array<ArrayBuffer>): void {
    this.send({ type: 'claimed', words }, [words.buffer])
  }

  /** Sessions of clients that other units have: records of RESOLVED_WORDS, which are given away. */
  clients(words: Uint32Array<ArrayBuffer>): void {
    this.send({ type: 'clients', words }, [words.buffer])
  }

  /** All routes again, as `atoms`, some at a time. @param begins nothing has been heard of other units' sessions yet */
  tellAllFlows(begins: boolean): void {
    this.send({ type: 'flows-all', begins })
  }

  /** The machines that are probed from now on. */
  probe(targets: readonly ProbeTarget[]): void {
    this.send({ type: 'probe', targets })
  }

  #ask(message: (id: number) => ToWorker, patienceMs = ANSWER_MS): Promise<unknown> {
    if (this.#over)
      return Promise.reject(
        new ShuntError(
          'SHUNT_ERR_DATAPLANE',
          'the data plane is not running; see the log, restart the agent',
        ),
      )
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#answers.delete(id)
        reject(
          new ShuntError(
            'SHUNT_ERR_DATAPLANE',
            `the data plane did not answer within ${patienceMs} ms; the machine may be overloaded, ask again`,
          ),
        )
      }, patienceMs)
      this.#answers.set(id, data => {
        clearTimeout(late)
        resolve(data)
      })
      this.send(message(id))
    })
  }

  /** @param keep what the kernel does goes on without this agent */
  async stop(keep = false): Promise<void> {
    if (this.#over) return
    this.#stopping = true
    const done = new Promise<void>(resolve => {
      this.#stopped = resolve
    })
    this.send({ type: 'stop', keep })
    await done
    await this.#worker.terminate()
    this.#port.close()
    this.#wake.close()
  }

  #take(message: FromWorker): void {
    switch (message.type) {
      case 'ready':
        this.xdp = message.xdp
        this.adopted = message.adopted
        this.epoch = message.epoch
        return this.#ready()
      case 'plumb':
        return this.#events.plumb(message.forwarderIpv4, message.words)
      case 'ended':
        return this.#events.ended(message.words)
      case 'atoms':
        this.#events.atoms?.(message.words)
        return this.send({ type: 'atoms-taken', messages: 1 })
      case 'atoms-lost':
        return this.#events.atomsLost?.()
      case 'resolve':
        return this.#events.resolve?.(message.words)
      case 'verify':
        return this.#events.verify?.(message.words)
      case 'epoch':
        return this.#events.epoch(message.epoch)
      case 'nodes':
        return this.#events.nodes(message.states)
      case 'alone':
        this.alone = new Set(message.vips)
        return this.#events.aloneChanged?.()
      case 'allotments-wanted':
        return this.#events.allotmentsWanted(message.services)
      case 'captured':
        return this.captured?.(message.batch)
      case 'answer':
        this.#answers.get(message.id)?.(message.data)
        this.#answers.delete(message.id)
        return
      case 'failed':
        return this.#fail(message.message)
      case 'stopped':
        this.#over = true
        return this.#stopped()
    }
  }

  #fail(message: string): void {
    if (this.#over) return
    this.#over = true
    this.#broken(new ShuntError('SHUNT_ERR_DATAPLANE', `the data plane worker failed: ${message}`))
    this.#events.failed(message)
    this.#stopped()
    this.#port.close()
  }
}
