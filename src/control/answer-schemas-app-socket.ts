/** The part of answer-schemas.ts that applications are answered on their own socket. */
import { z } from 'zod'
import type { ReportData, WhoamiData } from './app-types.ts'
import { count, describes, text } from './describes.ts'

export const whoami = describes<WhoamiData>()(
  z.object({
    pid: count.describe('Of the process that connected, as the kernel says.'),
    uid: count,
    gid: count,
    sameNetwork: z
      .boolean()
      .describe('False for a process of another network namespace, and when listeners is null.'),
    truncated: z.boolean().describe('It has more sockets or descriptors than are looked at.'),
    listeners: z
      .array(
        z.object({
          protocol: z.enum(['tcp', 'udp']),
          address: text,
          port: z.int().min(0).max(65_535),
          services: z.array(text).describe('Of this node, that the socket serves.'),
        }),
      )
      .nullable()
      .describe("null when the agent may not look at the process (CAP_SYS_PTRACE, for other users')."),
  }),
)

export const report = describes<ReportData>()(
  z.object({ services: z.array(text).describe('For which the report was taken.') }),
)
