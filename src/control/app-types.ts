/** What the applications' socket answers (agent/app-socket.ts). */

export interface WhoamiListener {
  protocol: 'tcp' | 'udp'
  /** `0.0.0.0` or `::` for any. */
  address: string
  port: number
  /** Services of the cluster that this node is a host of and that this socket serves. */
  services: string[]
}
export interface WhoamiData {
  /** Of the process that connected, as the kernel says. */
  pid: number
  uid: number
  gid: number
  /** False for a process of another network namespace, which can serve nothing here, and when `listeners` is null. */
  sameNetwork: boolean
  /** True when the process has more sockets or descriptors than are looked at. */
  truncated: boolean
  /** `null` when the agent may not look at the process: for other users' it needs CAP_SYS_PTRACE. */
  listeners: WhoamiListener[] | null
}

/** Services for which a report was taken. */
export interface ReportData {
  services: string[]
}

export const REPORT_SCHEMA = 'shunt.report/1'
export const WHOAMI_SCHEMA = 'shunt.whoami/1'
