// The life of a pet by the generated client for axios: node crud_axios.js ADDRESS TOKEN.

import { isAxiosError } from 'axios';
import { Configuration, ListPetsSortEnum, PetsApi } from 'petstore-client';
import type { Problem } from 'petstore-client';

async function problemOf(call: Promise<unknown>): Promise<Problem> {
    try {
        await call;
    } catch (error) {
        if (isAxiosError<Problem>(error) && error.response) return error.response.data;
        throw error;
    }
    throw new Error('the call should have failed');
}

async function main(basePath: string, accessToken: string): Promise<void> {
    const pets = new PetsApi(new Configuration({ basePath, accessToken }));

    const created = await pets.createPet({ name: 'Rex' });
    const { id } = created.data;
    const made = created.headers['etag'];
    const found = await pets.readPet(id);
    console.log(`created ${found.data.name}, read it by its id, with the same entity tag: ${made === found.headers['etag']}`);

    const { data: pet, headers } = await pets.updatePet(id, { description: 'A good dog.' }, made);
    const changed = headers['etag'];
    console.log(`changed ${pet.name}: ${pet.description}, and its entity tag: ${changed !== made}`);

    const late = await problemOf(pets.updatePet(id, { name: 'Max' }, made));
    console.log(`${late.status} ${late.title} for who has an old entity tag`);

    const bad = await problemOf(pets.createPet({ name: '' }));
    const [wrong] = bad.errors ?? [];
    console.log(`${bad.status} ${bad.title} at ${wrong?.pointer}: ${wrong?.code}`);

    const sort = [ListPetsSortEnum.NameDesc, ListPetsSortEnum.CreatedAt];
    const { data: page } = await pets.listPets(5, undefined, undefined, undefined, undefined, undefined, undefined, undefined, sort);
    console.log(`listed ${page.items.map(({ name }) => name)}, and there are more: ${page.next_cursor !== null}`);

    const gone = await pets.deletePet(id, changed);
    const missing = await problemOf(pets.readPet(id));
    console.log(`deleted: ${gone.status}, and then ${missing.status} ${missing.title}`);
}

main(process.argv[2] ?? '', process.argv[3] ?? '');
