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
  /** False for a process of another network namespace: it can serve nothing here. */
  sameNetwork: boolean
  /** True when the process has more sockets or descriptors than are looked at. */
  truncated: boolean
  listeners: WhoamiListener[]
}

export const WHOAMI_SCHEMA = 'shunt.whoami/1'
