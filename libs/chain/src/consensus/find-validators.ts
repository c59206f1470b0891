/** Validators of a state by index or key: `POST …/states/{state}/validators`, with `GET` at nodes that know no POST. */

import { type HttpAsk, HttpError } from '@dvt-relayer/common/http-client.ts'
import type { Static } from 'typebox'
import { type ChainValidator, ManyValidators, toValidator } from './beacon-answers.ts'

/** Bytes of an answer to POST: {@link POST_IDS} validators and some to spare. */
const POST_BYTES = 256 * 1024 * 1024
const POST_IDS = 1_000
const GET_BYTES = 1024 * 1024
/** 30 keys are 3 kB of URL, which servers still take. */
const GET_IDS = 30

/** What is asked of every answer. */
type Check = (answer: Static<typeof ManyValidators>) => void

/** Creates the search, which remembers that POST was refused. */
export function createFindValidators(http: HttpAsk, signal?: AbortSignal) {
  const common = signal === undefined ? {} : { signal }
  let postRefused = false

  async function byPost(path: string, ids: readonly string[], check: Check): Promise<ChainValidator[]> {
    const request = { ...common, method: 'POST' as const, path, body: { ids }, idempotent: true }
    const answer = await http.json({ ...request, maxBytes: POST_BYTES }, ManyValidators)
    check(answer)
    return answer.data.map(toValidator)
  }

  async function byGet(path: string, ids: readonly string[], check: Check): Promise<ChainValidator[]> {
    const found: ChainValidator[] = []
    for (const chunk of chunksOf(ids, GET_IDS)) {
      const query = { id: chunk.join(',') }
      const answer = await http.json({ ...common, maxBytes: GET_BYTES, path, query }, ManyValidators)
      check(answer)
      found.push(...answer.data.map(toValidator))
    }
    return found
  }

  async function findChunk(path: string, ids: readonly string[], check: Check): Promise<ChainValidator[]> {
    if (postRefused) return byGet(path, ids, check)
    try {
      return await byPost(path, ids, check)
    } catch (error) {
      if (!isStatus(error, 404, 405)) throw error
      const found = await byGet(path, ids, check)
      postRefused = true
      return found
    }
  }

  /** `path` is that of the state's validators. */
  return async function findValidators(
    path: string,
    ids: readonly string[],
    check: Check = () => {},
  ): Promise<ChainValidator[]> {
    const found: ChainValidator[] = []
    for (const chunk of chunksOf(ids, POST_IDS)) found.push(...(await findChunk(path, chunk, check)))
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
