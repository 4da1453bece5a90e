import pino, { type Logger } from 'pino'

/** JSON lines on standard error, written at once: a crash loses none. Keys are constants; children bind `role`, `peer`, `vip`. */
export const createLogger = (node: string, level: string): Logger =>
  pino(
    { level, base: { node, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  )
