// The life of a pet by the generated client: node crud.js ADDRESS TOKEN.

import { Configuration, ListPetsSortEnum, PetsApi, Problem, ProblemFromJSON, ResponseError } from 'petstore-client';
import type { ApiResponse, PetRead } from 'petstore-client';

async function petIn(answer: ApiResponse<PetRead>): Promise<[PetRead, string]> {
    return [await answer.value(), answer.raw.headers.get('ETag') ?? ''];
}

async function problemOf(call: Promise<unknown>): Promise<Problem> {
    try {
        await call;
    } catch (error) {
        if (error instanceof ResponseError) return ProblemFromJSON(await error.response.json());
        throw error;
    }
    throw new Error('the call should have failed');
}

async function main(basePath: string, accessToken: string): Promise<void> {
    const pets = new PetsApi(new Configuration({ basePath, accessToken }));

    const [{ id: petId }, made] = await petIn(await pets.createPetRaw({ petCreate: { name: 'Rex' } }));
    const [found, read] = await petIn(await pets.readPetRaw({ petId }));
    console.log(`created ${found.name}, read it by its id, with the same entity tag: ${made === read}`);

    const petPatch = { description: 'A good dog.' };
    const [pet, changed] = await petIn(await pets.updatePetRaw({ petId, petPatch, ifMatch: made }));
    console.log(`changed ${pet.name}: ${pet.description}, and its entity tag: ${changed !== made}`);

    const late = await problemOf(pets.updatePet({ petId, petPatch: { name: 'Max' }, ifMatch: made }));
    console.log(`${late.status} ${late.title} for who has an old entity tag`);

    const bad = await problemOf(pets.createPet({ petCreate: { name: '' } }));
    const [wrong] = bad.errors ?? [];
    console.log(`${bad.status} ${bad.title} at ${wrong?.pointer}: ${wrong?.code}`);

    const sort = [ListPetsSortEnum.NameDesc, ListPetsSortEnum.CreatedAt];
    const { items, nextCursor } = await pets.listPets({ limit: 5, sort });
    console.log(`listed ${items.map(({ name }) => name)}, and there are more: ${nextCursor !== null}`);

    const gone = await pets.deletePetRaw({ petId, ifMatch: changed });
    const missing = await problemOf(pets.readPet({ petId }));
    console.log(`deleted: ${gone.raw.status}, and then ${missing.status} ${missing.title}`);
}

main(process.argv[2] ?? '', process.argv[3] ?? '');
