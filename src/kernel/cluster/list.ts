/** A full list in pages, as one consistent state or not at all. */

import { ApiError, type Asked, isExpired } from "./api-error.ts";
import { fieldsOf, isRecord, text } from "./fields.ts";

export interface ListOptions<T> {
  /** Asks for one page and returns its JSON. */
  readonly page: (query: Readonly<Record<string, string>>) => Promise<unknown>;
  /** 0: no limit. */
  readonly pageSize: number;
  readonly read: (item: unknown) => T | undefined;
  readonly asked: Asked;
}

export interface Listed<T> {
  readonly objects: readonly T[];
  readonly resourceVersion: string;
}

export async function listAll<T>(options: ListOptions<T>): Promise<Listed<T>> {
  try {
    return await listPages(options);
  } catch (error) {
    if (!isExpired(error) || options.pageSize === 0) throw error;
    // The pages so far are of a state that the server has forgotten: once more, in one piece.
    return await listPages({ ...options, pageSize: 0 });
  }
}

async function listPages<T>({ page, pageSize, read, asked }: ListOptions<T>): Promise<Listed<T>> {
  const objects: T[] = [];
  let next = "";
  while (true) {
    const answer = await page({
      ...(pageSize === 0 ? {} : { limit: String(pageSize) }),
      ...(next === "" ? {} : { continue: next }),
    });
    const items = isRecord(answer) ? answer["items"] : undefined;
    const metadata = fieldsOf(isRecord(answer) ? answer["metadata"] : undefined, () => {});
    const resourceVersion = text(metadata, "resourceVersion") ?? "";
    // Go writes an empty list as null.
    if (!Array.isArray(items) && items !== null || resourceVersion === "") {
      throw new ApiError(
        "answer",
        `Cannot list ${asked.resource} at ${asked.server}: its answer is no list: ` +
          "is it an API server?",
      );
    }
    for (const item of items ?? []) {
      const object = read(item);
      if (object !== undefined) objects.push(object);
    }
    next = text(metadata, "continue") ?? "";
    if (next === "") return { objects, resourceVersion };
  }
}
