/** Puts the samples of `perf script` into classes by what is on their stacks. Pure. */

export interface Sample {
  tid: number
  /** Function names, the innermost first. */
  stack: string[]
}

/** Of `perf script -F comm,tid,ip,sym`: a line with the thread, then one a frame. */
export const parseSamples = (text: string): Sample[] =>
  text.split('\n\n').flatMap(block => {
    const [head, ...frames] = block.trim().split('\n')
    const tid = /\s(\d+)\s*$/.exec(head)?.[1]
    if (tid === undefined) return []
    return [{ tid: Number(tid), stack: frames.map(frame => frame.trim().replace(/^[0-9a-f]+ /, '')) }]
  })

const has = (stack: string[], name: RegExp): boolean => stack.some(frame => name.test(frame))

/** System calls of the data plane worker, by a function that only they lead to. */
const CALLS: [string, RegExp][] = [
  ['poll', /sys_poll$/],
  ['sendmmsg, raw (tunnelled packets)', /^raw_sendmsg$/],
  ['sendmmsg, UDP (mappings)', /^udp_sendmsg$/],
  ['sendmmsg, entry', /sendmmsg/],
  ['recvmmsg, UDP (acknowledgements)', /recvmmsg/],
  ['netlink (route elements)', /netlink/],
  ['writev (TUN)', /sys_writev$/],
  ['write (wake-ups)', /sys_write$/],
  ['futex', /sys_futex/],
]

/**
 * @param workerTid thread of the data plane
 * @param agentTids all threads of the agent
 * @param idleTid the process that stands for the idle task
 */
export const classify = (
  sample: Sample,
  workerTid: number,
  agentTids: ReadonlySet<number>,
  idleTid: number,
): string => {
  const { stack, tid } = sample
  if (has(stack, /^net_rps_send_ipi$/)) return 'wake-up sent to the other CPU (of the steering)'
  // An interrupt's own time is booked where interrupts are let in again: at the begin of the softirqs.
  if (/^handle_softirqs/.test(stack[0]) && has(stack, /^(asm_)?sysvec_call_function_single$/))
    return 'wake-up received from the other CPU (of the steering)'
  const inSoftirq = has(stack, /^(handle_softirqs|__do_softirq|run_ksoftirqd)/)
  if (inSoftirq) {
    if (has(stack, /^packet_rcv|^tpacket_rcv/)) return 'softirq: packet ring'
    if (has(stack, /^nf_hook_slow|^nft_do_chain|nf_ingress/)) return 'softirq: nftables ingress'
    if (has(stack, /^udp_|^__udp4/)) return 'softirq: UDP receive'
    if (has(stack, /^net_rx_action$|^process_backlog$|netif_receive_skb/)) return 'softirq: receive, other'
    if (has(stack, /^rcu_/)) return 'softirq: RCU'
    return 'softirq: other'
  }
  if (tid === idleTid) return 'idle'
  if (!agentTids.has(tid)) return 'other processes'
  if (tid !== workerTid) return 'agent: other threads'
  const call = CALLS.find(([, name]) => has(stack, name))
  if (call !== undefined) return `worker: ${call[0]}`
  if (has(stack, /entry_SYSCALL|do_syscall|asm_sysvec|irqentry/)) return 'worker: kernel, other'
  if (has(stack, /Scavenge|MarkCompact|Heap::|IncrementalMarking|Sweep/)) return 'worker: garbage collection'
  if (has(stack, /ffi/i)) return 'worker: node:ffi call overhead'
  return 'worker: JavaScript'
}

/** Innermost JavaScript function of the project on a stack, such as `packet forwarder-core.ts:92`. */
export const projectFrame = (stack: string[]): string => {
  const frame = stack.find(f => /\/src\/.*\.ts/.test(f))
  if (frame === undefined) return '(no frame of the project)'
  const found = /^(?:LazyCompile|Function|JS|Eval|Script)?:?[*^~+]*\s*(\S*) .*\/src\/(\S+?):(\d+)/.exec(frame)
  return found === null ? frame : `${found[1]} ${found[2]}:${found[3]}`
}
