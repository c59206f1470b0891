import type { Attack } from '../attack.ts'
import { flood } from '../wire.ts'

const [SILENT, SLOW] = [1500, 100]

/** Connections that say nothing, and some that never end their headers. */
export const connections: Attack = {
  id: 'connections',
  name: `${SILENT} silent connections and ${SLOW} with slow headers, no token`,
  reaches: ['cut off'],
  async run({ url }, count) {
    const then = (socket: { write(text: string): boolean; destroyed: boolean }) => {
      const timer = setInterval(() => {
        if (socket.destroyed) clearInterval(timer)
        else socket.write('x')
      }, 1000)
    }
    await flood(url, count, { connections: SLOW, say: () => 'GET /health HTTP/1.1\r\nx-slow: ', then, thinkMs: 1000 })
    await flood(url, count, { connections: SILENT, say: () => '', thinkMs: 1000 })
  },
}
