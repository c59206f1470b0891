/** How a list for sidecars is answered: at once, or, asked to wait, once something changed; whole, or page by page. */

import type { AnswerOf } from '@dvt-relayer/api/contract.ts'
import type { Routes } from '@dvt-relayer/api/routes.ts'
import type { Nodes } from '../services/attendance/nodes.ts'
import type { SidecarList } from '../services/signatures/sidecar-lists.ts'
import { type Call, goneOf } from './bind.ts'
import { Rendered } from './rendered.ts'
import { clockDifference, nodeOf } from './visits.ts'

/** Answers `?wait=<seconds>&after=<revision>`, and `&limit=<items>&from=<next>` with a page. `stopping` ends the wait. */
export async function answerList<R extends Routes['getExits'] | Routes['getValidators']>(
  list: SidecarList,
  nodes: Nodes,
  { query, request, caller }: Call<R>,
  stopping: AbortSignal,
): Promise<Rendered<AnswerOf<R>>> {
  const node = nodeOf(caller, request)
  nodes.listed(node, clockDifference(request))
  const [after, from, limit] = [query.after, query.from, query.limit].map(numberOf)
  const waitMs = Number(query.wait ?? 0) * 1000
  // Who has had a page of a change has the others at once.
  if (after !== undefined && waitMs > 0 && from === undefined) {
    request.isLongPoll = true
    const gone = goneOf(request)
    const ended = nodes.waits(node)
    try {
      await list.waitForChange(after, waitMs, AbortSignal.any([stopping, gone]))
    } finally {
      ended(gone.aborted)
    }
  }
  return new Rendered(await (limit === undefined ? list.read(after) : list.readPage({ limit, from, after })))
}

const numberOf = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text))
