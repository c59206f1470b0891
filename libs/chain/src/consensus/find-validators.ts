/** Validators of a state by index or key: `POST …/states/{state}/validators`, with `GET` at nodes that know no POST. */

import { type HttpAsk, HttpError, type HttpRequest, readJson } from '@dvt-relayer/common/http/client.ts'
import { type ChainValidator, ManyValidators, type Standing, toValidator } from './beacon-answers.ts'

const POST_IDS = 1_000
/** 30 keys are 3 kB of URL, which servers still take. */
const GET_IDS = 30
/** An answer with {@link POST_IDS} validators, several times: one is about 600 bytes of JSON and 13 values. */
const MOST = { maxBytes: 4 * 1024 * 1024, maxValues: 50_000 }

/** How nodes that know no POST here, and proxies that let none through, refuse it. Whether they mean it, GET shows. */
const POST_REFUSED = new Set([400, 403, 404, 405, 411, 413, 415, 501])

/** What is asked of every answer. */
type Check = (answer: Standing, host: string) => void
type StateRequest = Pick<HttpRequest, 'path' | 'isVouched'>

/** Creates the search, which remembers that POST was refused. */
export function createFindValidators(http: HttpAsk, signal?: AbortSignal) {
  const common = signal === undefined ? {} : { signal }
  let postRefused = false

  /** Undefined where POST is refused. That is an answer like any other: this very endpoint is asked by GET, not the next one. */
  async function byPost(request: StateRequest, ids: readonly string[], check: Check) {
    const post = { ...common, ...request, method: 'POST' as const, body: { ids }, idempotent: true }
    const isOk = (status: number) => status >= 200 && status < 300
    const accepts = (status: number) => isOk(status) || POST_REFUSED.has(status)
    return http.read({ ...post, ...MOST, accepts }, async (answer) => {
      if (!isOk(answer.status)) return undefined
      const value = await readJson(answer, ManyValidators)
      check(value, answer.host)
      return value.data.map(toValidator)
    })
  }

  async function byGet(request: StateRequest, ids: readonly string[], check: Check): Promise<ChainValidator[]> {
    const found: ChainValidator[] = []
    for (const chunk of chunksOf(ids, GET_IDS)) {
      const get = { ...common, ...request, ...MOST, query: { id: chunk.join(',') } }
      const { data } = await http.json(get, ManyValidators, check)
      found.push(...data.map(toValidator))
    }
    return found
  }

  async function findChunk(request: StateRequest, ids: readonly string[], check: Check): Promise<ChainValidator[]> {
    const posted = postRefused ? undefined : await byPost(request, ids, check)
    if (posted !== undefined) return posted
    const found = await byGet(request, ids, check)
    postRefused = true
    return found
  }

  /** `path` is that of the state's validators; `check` throws for an answer that another endpoint is to give instead. */
  return async function findValidators(
    request: StateRequest,
    ids: readonly string[],
    check: Check,
  ): Promise<ChainValidator[]> {
    const found: ChainValidator[] = []
    for (const chunk of chunksOf(ids, POST_IDS)) found.push(...(await findChunk(request, chunk, check)))
    return found
  }
}

function chunksOf<T>(items: readonly T[], length: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / length) }, (_, i) => items.slice(i * length, (i + 1) * length))
}

/** Whether the node has answered with one of these statuses. */
export function isStatus(error: unknown, ...statuses: number[]): boolean {
  return error instanceof HttpError && error.code === 'HTTP_STATUS' && statuses.includes(error.status ?? 0)
}
